package host

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// chunk of elements in one message: a netlink attribute holds 64 KiB at most.
const chunk = 500

// errNoNFTables: the kernel has no nf_tables.
var errNoNFTables = errors.New("this kernel has no nf_tables; load it with: modprobe nf_tables")

func withNFT(f func(*nftables.Conn) error) error {
	c, err := nftables.New(nftables.AsLasting())
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return errNoNFTables
	}
	if err != nil {
		return fmt.Errorf("cannot open nftables: %w", err)
	}
	return errors.Join(f(c), c.CloseLasting())
}

// readTable reads ours; nil if there is none. What is in it that we would never
// write makes it an unreadable one, which equals nothing.
func (kernel) readTable() (t *table, err error) {
	err = withNFT(func(c *nftables.Conn) error {
		list, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			return errNoNFTables // nfnetlink without that subsystem
		}
		if err != nil {
			return fmt.Errorf("cannot list nftables tables: %w", err)
		}
		for _, x := range list {
			if x.Name == TableName && x.Family == nftables.TableFamilyINet {
				// Its own text would never be what we write, so it is replaced.
				if t, err = readOurs(c, x); err != nil {
					t = &table{chains: []chain{{name: "unreadable: " + err.Error()}}}
				}
			}
		}
		return nil
	})
	return t, err
}

func readOurs(c *nftables.Conn, nt *nftables.Table) (t *table, err error) {
	// The library indexes into texts of the table without looking at their length.
	defer func() {
		if r := recover(); r != nil {
			t, err = nil, fmt.Errorf("%v", r)
		}
	}()
	t = &table{}
	sets, err := c.GetSets(nt)
	if err != nil {
		return nil, err
	}
	for _, s := range sets {
		o, err := readSet(c, s)
		if err != nil {
			return nil, err
		}
		t.sets = append(t.sets, o)
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, err
	}
	for _, ch := range chains {
		if ch.Table == nil || ch.Table.Name != nt.Name {
			continue
		}
		o := chain{name: ch.Name, kind: ch.Type}
		if ch.Hooknum != nil {
			o.hook, o.priority = *ch.Hooknum, *ch.Priority
		}
		if ch.Policy != nil && *ch.Policy != nftables.ChainPolicyAccept {
			o.name += " (policy drop)"
		}
		rules, err := c.GetRules(nt, ch)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			o.rules = append(o.rules, rule{comment, r.Exprs})
		}
		t.chains = append(t.chains, o)
	}
	return t, nil
}

func readSet(c *nftables.Conn, s *nftables.Set) (set, error) {
	o := set{name: s.Name}
	found := false
	for _, v6 := range []bool{false, true} {
		for _, ports := range []bool{false, true} {
			if k := keyType(v6, ports); k.GetNFTMagic() == s.KeyType.GetNFTMagic() && k.Bytes == s.KeyType.Bytes {
				o.v6, o.ports, found = v6, ports, true
			}
		}
	}
	if !found || s.IsMap || s.Interval || s.Dynamic || s.HasTimeout || s.Constant {
		return o, fmt.Errorf("set %s is not of ours", s.Name)
	}
	elements, err := c.GetSetElements(s)
	if err != nil {
		return o, err
	}
	for _, e := range elements {
		o.keys = append(o.keys, string(e.Key))
	}
	slices.Sort(o.keys)
	return o, nil
}

func keyType(v6, ports bool) nftables.SetDatatype {
	t := nftables.TypeIPAddr
	if v6 {
		t = nftables.TypeIP6Addr
	}
	if ports {
		t = nftables.MustConcatSetType(t, nftables.TypeInetService)
	}
	return t
}

// writeTable replaces our table by t in one transaction: no packet meets half
// of it. nil removes it. Connections that are under way keep their addresses,
// which conntrack remembers.
func (kernel) writeTable(t *table) error {
	return withNFT(func(c *nftables.Conn) error {
		nt := &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet}
		// Deleting needs a table that is there.
		c.AddTable(nt)
		c.DelTable(nt)
		if t != nil {
			c.AddTable(nt)
			ids := map[string]uint32{}
			for _, s := range t.sets {
				id, err := addSet(c, nt, s)
				if err != nil {
					return err
				}
				ids[s.name] = id
			}
			for _, ch := range t.chains {
				addChain(c, nt, ch, ids)
			}
		}
		if err := c.Flush(); err != nil {
			return fmt.Errorf("cannot write nftables table inet %s: %w", TableName, err)
		}
		return nil
	})
}

func addSet(c *nftables.Conn, nt *nftables.Table, s set) (uint32, error) {
	ns := &nftables.Set{Table: nt, Name: s.name, KeyType: keyType(s.v6, s.ports), Concatenation: s.ports}
	if err := c.AddSet(ns, nil); err != nil {
		return 0, err
	}
	for part := range slices.Chunk(s.keys, chunk) {
		elements := make([]nftables.SetElement, len(part))
		for i, k := range part {
			elements[i].Key = []byte(k)
		}
		if err := c.SetAddElements(ns, elements); err != nil {
			return 0, err
		}
	}
	return ns.ID, nil
}

func addChain(c *nftables.Conn, nt *nftables.Table, ch chain, ids map[string]uint32) {
	accept := nftables.ChainPolicyAccept
	nc := c.AddChain(&nftables.Chain{Table: nt, Name: ch.name, Type: ch.kind, Hooknum: &ch.hook, Priority: &ch.priority, Policy: &accept})
	for _, r := range ch.rules {
		exprs := slices.Clone(r.exprs)
		for i, e := range exprs {
			// A set of the same transaction is named by its number there.
			if l, ok := e.(*expr.Lookup); ok {
				x := *l
				x.SetID = ids[x.SetName]
				exprs[i] = &x
			}
		}
		c.AddRule(&nftables.Rule{Table: nt, Chain: nc, Exprs: exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, r.comment)})
	}
}
