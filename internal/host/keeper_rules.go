package host

import "errors"

// tableMemory is what Run remembers of our nftables table.
type tableMemory struct {
	looked  bool   // at least once: one of an earlier run may be there
	there   bool   // as far as known
	written string // text as last written, "" for none
	// shown is how the kernel shows what was written, if that is not the same.
	shown string
}

// rules compares our table with what is wanted and replaces it if it differs,
// but not in a pause.
func (k *Keeper) rules(want *Want, r *report, paused bool) {
	const subject = "nftables"
	m := &k.table
	none := want.Rules.empty()
	if none && m.looked && !m.there {
		return
	}
	have, err := k.m.readTable()
	if none && errors.Is(err, errNoNFTables) {
		m.looked = true
		return
	}
	if err != nil {
		r.add(subject, err.Error())
		return
	}
	m.looked, m.there = true, have != nil
	if none {
		if have != nil && paused {
			m.looked = false // again after the pause
		} else if have != nil {
			k.removeTable(r, subject)
		}
		return
	}
	t := want.Rules.compile()
	text := t.text()
	changed := m.written != text
	if have != nil {
		if seen := have.text(); seen == text || !changed && seen == m.shown {
			m.written = text
			return
		}
	}
	if paused {
		r.add(subject, "the nftables table "+TableName+" is not as it should be, and stays so until \"lvs-ha resume\"; port ranges and servers with snat = true may not work")
		return
	}
	if err := k.m.writeTable(&t); err != nil {
		r.add(subject, err.Error()+"; port ranges and servers with snat = true do not work")
		return
	}
	event := "nft_written"
	if !changed {
		event = "nft_repaired"
		k.repaired(RepairNFTables)
	}
	k.log.Info("nftables table replaced", "event", event, "table", TableName, "marks", len(want.Rules.Marks), "masquerades", len(want.Rules.Masquerades))
	m.there, m.written, m.shown = true, text, ""
	// A kernel that shows our table in another way would have it replaced for ever.
	if have, err = k.m.readTable(); err == nil && have != nil {
		if seen := have.text(); seen != text {
			m.shown = seen
			k.log.Debug("nftables shows the table in another way", "event", "nft_shown", "wrote", text, "shows", seen)
		}
	}
}

func (k *Keeper) removeTable(r *report, subject string) {
	if err := k.m.writeTable(nil); err != nil {
		r.add(subject, err.Error())
		return
	}
	k.log.Info("nftables table removed, nothing needs it", "event", "nft_removed", "table", TableName)
	k.table.there, k.table.written, k.table.shown = false, "", ""
}
