package health

// judge holds a reply against what is expected.
func (o UDPOptions) judge(reply []byte) *Failure {
	if len(reply) < len(o.Expect) {
		return failShortReply
	}
	for i, want := range o.Expect {
		if m := o.mask(i); reply[i]&m != want&m {
			return failOtherReply
		}
	}
	return nil
}

var (
	failShortReply = &Failure{ReasonBody, "reply shorter than expected"}
	failOtherReply = &Failure{ReasonBody, "reply differs from what is expected"}
)
