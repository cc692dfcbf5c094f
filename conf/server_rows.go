package conf

import (
	"fmt"
	"strings"
)

// Nearly all of a large file are the servers of services and pools, one row
// each with a name, an address and little more. A map for every row, and a
// boxed value for everything in it, cost more than all the rest of loading. So
// lists of nothing but such rows are kept as a serverRows, which whoever does
// not know it sees as the list of tables that it stands for.

// serverRows is a list of servers in a decoded tree, in place of a []any.
type serverRows struct {
	text string
	rows []serverRow
	keys rowKeys // of all rows together
	all  []any   // of map[string]any, once somebody asked
}

// serverRow is where the values of one row stand in the text.
type serverRow struct {
	at           uint32 // of the brace
	name, addr   uint32
	upper, lower uint32 // max_connections, min_connections
	port, weight uint16
	nameLen      uint8
	addrLen      uint8
	keys         rowKeys
}

// rowKeys tells which keys a row has.
type rowKeys uint8

const (
	rowName rowKeys = 1 << iota
	rowAddress
	rowPort
	rowWeight
	rowUpper
	rowLower
	rowEnabled
	rowOn // the value of enabled
)

// rowWords are the keys by bit.
var rowWords = [...]string{"name", "address", "port", "weight", "max_connections", "min_connections", "enabled"}

func (l *serverRows) nameOf(r *serverRow) string { return l.text[r.name : r.name+uint32(r.nameLen)] }

func (l *serverRows) address(r *serverRow) string { return l.text[r.addr : r.addr+uint32(r.addrLen)] }

// table is a row as the decoder would have made it.
func (l *serverRows) table(i int) map[string]any {
	m, _ := plainRow(l.text, int(l.rows[i].at))
	return m
}

// tables are all rows as the decoder would have made them.
func (l *serverRows) tables() []any {
	if l.all == nil {
		l.all = make([]any, len(l.rows))
		for i := range l.all {
			l.all[i] = l.table(i)
		}
	}
	return l.all
}

// GoString is that of the list it stands for.
func (l *serverRows) GoString() string { return fmt.Sprintf("%#v", l.tables()) }

// supported tells whether each key that a row has may stand in a server.
func (l *serverRows) supported() bool {
	for i, w := range rowWords {
		if l.keys&(1<<i) == 0 {
			continue
		}
		if info, known := schema[kindServer][w]; !known || info.refused != "" {
			return false
		}
	}
	return true
}

// rowHashes are of the keys.
var rowHashes = func() (h [len(rowWords)]uint64) {
	for i, w := range rowWords {
		h[i] = hashText(fnvStart, w)
	}
	return h
}()

// hash is hashValue of the list it stands for.
func (l *serverRows) hash() uint64 {
	h := uint64('l')
	for i := range l.rows {
		r := &l.rows[i]
		m := uint64('m')
		if r.keys&rowName != 0 {
			m += mix(rowHashes[0], mix('s', hashText(fnvStart, l.nameOf(r))))
		}
		if r.keys&rowAddress != 0 {
			m += mix(rowHashes[1], mix('s', hashText(fnvStart, l.address(r))))
		}
		if r.keys&rowPort != 0 {
			m += mix(rowHashes[2], mix('i', uint64(r.port)))
		}
		if r.keys&rowWeight != 0 {
			m += mix(rowHashes[3], mix('i', uint64(r.weight)))
		}
		if r.keys&rowUpper != 0 {
			m += mix(rowHashes[4], mix('i', uint64(r.upper)))
		}
		if r.keys&rowLower != 0 {
			m += mix(rowHashes[5], mix('i', uint64(r.lower)))
		}
		if r.keys&rowEnabled != 0 {
			on := uint64(0)
			if r.keys&rowOn != 0 {
				on = 1
			}
			m += mix(rowHashes[6], mix('b', on))
		}
		h = mix(h, mix('m', m))
	}
	return h
}

// serversPath tells whether an encoded path is that of the servers of a
// service or pool: service[N].servers, pool.NAME.servers.
func serversPath(path []byte) bool {
	p := string(path) // does not escape
	return strings.HasSuffix(p, "\x00servers\x00") && strings.Count(p, "\x00") == 3 &&
		(strings.HasPrefix(p, "service\x00\xff") || strings.HasPrefix(p, "pool\x00") && p[len("pool\x00")] != 0xff)
}

// readServerRows reads the list that begins at text[at], a bracket, into
// rows. Nil unless each element is a row of the few keys known here, with
// values of their type and within their range.
func readServerRows(text string, at int, rows []serverRow) (l *serverRows, end int) {
	if len(text) >= 1<<32 {
		return nil, 0
	}
	from, keys := len(rows), rowKeys(0)
	for i := at + 1; ; {
		if i = between(text, i); i >= len(text) {
			return nil, 0
		}
		if text[i] != ']' {
			var r serverRow
			if i = r.read(text, i); i == 0 {
				return nil, 0
			}
			rows = append(rows, r)
			keys |= r.keys
			if i = between(text, i); i >= len(text) {
				return nil, 0
			}
			if text[i] == ',' {
				i++
				continue
			}
		}
		if text[i] != ']' {
			return nil, 0
		}
		return &serverRows{text: text, rows: rows[from:len(rows):len(rows)], keys: keys}, i + 1
	}
}

// read the row that begins at text[i], and return where it ends; 0 if
// it is not one. What it takes, plainRow takes too.
func (r *serverRow) read(text string, i int) int {
	if text[i] != '{' {
		return 0
	}
	r.at = uint32(i)
	for i = blanks(text, i+1); ; i = blanks(text, i+1) {
		from := i
		for i < len(text) && bare(text[i]) {
			i++
		}
		word := text[from:i]
		if i = blanks(text, i); i >= len(text) || text[i] != '=' {
			return 0
		}
		if i = blanks(text, i+1); i >= len(text) {
			return 0
		}
		var key rowKeys
		switch word {
		case "name", "address":
			s, next := plainText(text, i)
			if next == 0 || len(s) > 255 {
				return 0
			}
			if word == "name" {
				key, r.name, r.nameLen = rowName, uint32(i+1), uint8(len(s))
			} else {
				key, r.addr, r.addrLen = rowAddress, uint32(i+1), uint8(len(s))
			}
			i = next
		case "port", "weight":
			n, next := plainNumber(text, i)
			if next == 0 || n > 65535 {
				return 0
			}
			if word == "port" {
				key, r.port = rowPort, uint16(n)
			} else {
				key, r.weight = rowWeight, uint16(n)
			}
			i = next
		case "max_connections", "min_connections":
			n, next := plainNumber(text, i)
			if next == 0 || n >= 1<<32 {
				return 0
			}
			if word == "max_connections" {
				key, r.upper = rowUpper, uint32(n)
			} else {
				key, r.lower = rowLower, uint32(n)
			}
			i = next
		case "enabled":
			on, next := plainBool(text, i)
			if next == 0 {
				return 0
			}
			if key = rowEnabled; on {
				r.keys |= rowOn
			}
			i = next
		default:
			return 0
		}
		if r.keys&key != 0 { // twice
			return 0
		}
		r.keys |= key
		if i = blanks(text, i); i >= len(text) {
			return 0
		}
		switch text[i] {
		case '}':
			return i + 1
		case ',':
		default:
			return 0
		}
	}
}
