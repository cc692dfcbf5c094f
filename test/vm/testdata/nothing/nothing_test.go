// Package nothing is a fixture of selftest: it has a test file and no test.
package nothing
