// Package table writes aligned columns for people.
//
//	rows of cells ─▶ Clean ─▶ widths ─▶ padding, styles, cut to the width ─▶ text
//
// A state is always a word; a style only adds colour to it. Text may come from
// strangers: control characters never reach the terminal.
package table
