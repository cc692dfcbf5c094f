package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	mnl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// queue of netfilter (linux/netfilter/nfnetlink_queue.h) in which packets wait.
// Nobody reads them: they are only let go, all at once.
type queue struct {
	c      *mnl.Conn
	number uint16
}

const (
	firstQueue = 0x4c56 // "LV"
	queues     = 16     // tried, should somebody have one of these numbers
	// maxHeld packets; of more the rest passes.
	maxHeld = 1 << 16

	queueSubsystem = unix.NFNL_SUBSYS_QUEUE << 8

	msgConfig       = 2 // NFQNL_MSG_CONFIG
	msgVerdictBatch = 3 // NFQNL_MSG_VERDICT_BATCH

	attrConfigCommand = 1 // NFQA_CFG_CMD
	attrConfigParams  = 2 // NFQA_CFG_PARAMS
	attrConfigLength  = 3 // NFQA_CFG_QUEUE_MAXLEN
	attrConfigMask    = 4 // NFQA_CFG_MASK
	attrConfigFlags   = 5 // NFQA_CFG_FLAGS
	attrVerdict       = 2 // NFQA_VERDICT_HDR

	commandBind  = 1 // NFQNL_CFG_CMD_BIND
	copyMeta     = 1 // NFQNL_COPY_META: packets themselves are not copied to us
	flagFailOpen = 1 // NFQA_CFG_F_FAIL_OPEN
	flagGSO      = 4 // NFQA_CFG_F_GSO
)

func openQueue() (*queue, error) {
	c, err := mnl.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot open a netfilter queue: %w", err)
	}
	q := &queue{c: c, number: firstQueue}
	// The news of each packet lies there until the queue is closed.
	_ = c.SetReadBuffer(8 << 20)
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	for ; ; q.number++ {
		err := q.configure()
		if err == nil {
			return q, nil
		}
		if !errors.Is(err, unix.EBUSY) || q.number == firstQueue+queues-1 {
			c.Close()
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
				err = fmt.Errorf("%w; is there the module nfnetlink_queue?", err)
			}
			return nil, fmt.Errorf("cannot make a netfilter queue: %w", err)
		}
	}
}

func (q *queue) configure() error {
	// Two messages: the first makes the queue, and a queue takes no packet
	// before its copy mode is set.
	if err := q.send(true, msgConfig, mnl.Attribute{Type: attrConfigCommand, Data: []byte{commandBind, 0, 0, 0}}); err != nil {
		return err
	}
	return q.send(true, msgConfig,
		mnl.Attribute{Type: attrConfigParams, Data: []byte{0, 0, 0, 0, copyMeta}},
		mnl.Attribute{Type: attrConfigLength, Data: binary.BigEndian.AppendUint32(nil, maxHeld)},
		mnl.Attribute{Type: attrConfigMask, Data: binary.BigEndian.AppendUint32(nil, flagFailOpen|flagGSO)},
		mnl.Attribute{Type: attrConfigFlags, Data: binary.BigEndian.AppendUint32(nil, flagFailOpen|flagGSO)})
}

// send a message; an answer can only be awaited while no packet is queued.
func (q *queue) send(answer bool, kind mnl.HeaderType, attrs ...mnl.Attribute) error {
	b, err := mnl.MarshalAttributes(attrs)
	if err != nil {
		return err
	}
	m := mnl.Message{
		Header: mnl.Header{Type: queueSubsystem | kind, Flags: mnl.Request},
		// struct nfgenmsg: family, version, number
		Data: append([]byte{unix.AF_UNSPEC, 0, byte(q.number >> 8), byte(q.number)}, b...),
	}
	if answer {
		m.Header.Flags |= mnl.Acknowledge
		_, err = q.c.Execute(m)
	} else {
		_, err = q.c.Send(m)
	}
	return err
}

// pass lets everything go on that waits.
func (q *queue) pass() {
	const accept = 1 // NF_ACCEPT
	// All up to the largest number; that there is none is no error for us.
	verdict := binary.BigEndian.AppendUint32(nil, accept)
	verdict = binary.BigEndian.AppendUint32(verdict, 1<<31-1)
	_ = q.send(false, msgVerdictBatch, mnl.Attribute{Type: attrVerdict, Data: verdict})
}

func (q *queue) close() { q.c.Close() }
