package director

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Orders of people outlive the agent in a file. It is read with suspicion: an
// entry that no command could have made is left out.

const (
	adminFile    = "admin.json"
	adminVersion = 1
	// adminLimit of the file, in octets.
	adminLimit = 16 << 20
	// textLimit of an owner or a reason, in characters.
	textLimit = 200
	maxWeight = 65535
)

type adminDoc struct {
	Version int          `json:"version"`
	Pause   *orderDoc    `json:"pause,omitempty"`
	Servers []adminEntry `json:"servers"`
}

type adminEntry struct {
	Service  string    `json:"service"`
	Server   string    `json:"server"`
	Mode     AdminMode `json:"mode,omitempty"`
	ModeBy   *orderDoc `json:"mode_by,omitempty"`
	Weight   *uint32   `json:"weight,omitempty"`
	WeightBy *orderDoc `json:"weight_by,omitempty"`
}

type orderDoc struct {
	Owner   string    `json:"owner,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since"`
	Expires time.Time `json:"expires,omitzero"`
	Force   bool      `json:"force,omitempty"`
}

// loadAdmin reads the file in dir. A missing one is empty; an unreadable one is
// empty and an error for the log. The map is never nil.
func loadAdmin(dir string) (map[ServerID]Admin, Pause, error) {
	path := filepath.Join(dir, adminFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[ServerID]Admin{}, Pause{}, nil
	}
	if err != nil {
		return map[ServerID]Admin{}, Pause{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, adminLimit+1))
	if err == nil && len(b) > adminLimit {
		err = fmt.Errorf("is larger than %d octets", adminLimit)
	}
	var servers map[ServerID]Admin
	var pause Pause
	if err == nil {
		servers, pause, err = parseAdmin(b)
	}
	if err != nil {
		return map[ServerID]Admin{}, Pause{}, fmt.Errorf("%s: %w", path, err)
	}
	return servers, pause, nil
}

func parseAdmin(b []byte) (map[ServerID]Admin, Pause, error) {
	var doc adminDoc
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, Pause{}, err
	}
	if doc.Version != adminVersion {
		return nil, Pause{}, fmt.Errorf("is of version %d, this agent reads version %d", doc.Version, adminVersion)
	}
	servers := map[ServerID]Admin{}
	for _, e := range doc.Servers {
		if !adminName(e.Service) || !adminName(e.Server) {
			continue
		}
		var a Admin
		if by, ok := e.ModeBy.order(); ok && (e.Mode == AdminDrain || e.Mode == AdminMaintenance) {
			a.Mode, a.ModeBy = e.Mode, by
		}
		if by, ok := e.WeightBy.order(); ok && e.Weight != nil && *e.Weight <= maxWeight {
			a.Weight, a.WeightBy = e.Weight, by
		}
		if !a.isZero() {
			servers[ServerID{e.Service, e.Server}] = a
		}
	}
	by, ok := doc.Pause.order()
	return servers, Pause{On: ok, By: by}, nil
}

// adminName tells whether a configuration could hold the name.
func adminName(s string) bool {
	return s != "" && len(s) <= 63 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) < 0
}

func (o *orderDoc) order() (Order, bool) {
	sane := func(t time.Time) bool { return t.IsZero() || t.Year() >= 1970 && t.Year() < 9999 }
	if o == nil || !sane(o.Since) || !sane(o.Expires) {
		return Order{}, false
	}
	return Order{plainText(o.Owner), plainText(o.Reason), o.Since.UTC(), o.Expires.UTC(), o.Force}, true
}

func newOrderDoc(o Order) *orderDoc {
	// Without the monotonic clock, which means nothing to the next process.
	return &orderDoc{o.Owner, o.Reason, o.Since.UTC().Round(0), o.Expires.UTC().Round(0), o.Force}
}

// plainText is s in one line without control characters, and not too long.
func plainText(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(s)
	if r := []rune(s); len(r) > textLimit {
		s = strings.TrimSpace(string(r[:textLimit]))
	}
	return s
}

func encodeAdmin(servers map[ServerID]Admin, pause Pause) ([]byte, error) {
	doc := adminDoc{Version: adminVersion, Servers: []adminEntry{}}
	if pause.On {
		doc.Pause = newOrderDoc(pause.By)
	}
	for id, a := range servers {
		e := adminEntry{Service: id.Service, Server: id.Server}
		if a.aside() != "" {
			e.Mode, e.ModeBy = a.Mode, newOrderDoc(a.ModeBy)
		}
		if a.Weight != nil {
			e.Weight, e.WeightBy = a.Weight, newOrderDoc(a.WeightBy)
		}
		doc.Servers = append(doc.Servers, e)
	}
	slices.SortFunc(doc.Servers, func(a, b adminEntry) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Server, b.Server))
	})
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(doc)
	return out.Bytes(), err
}

// saveAdmin replaces the file in one step.
func saveAdmin(dir string, servers map[ServerID]Admin, pause Pause) error {
	b, err := encodeAdmin(servers, pause)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, adminFile), b)
}
