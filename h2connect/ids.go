package h2connect

// This file is what a connection remembers of stream identifiers that are not in
// its table, both in bounded memory: what a frame on one of them means depends
// on how it left the table, or on whether it was ever there.

// recentIDs remembers the streams we have reset lately.
type recentIDs struct {
	ids  []uint32
	next int
}

// recentResets is how many are remembered: as many as the reset bucket lets
// happen at once.
const recentResets = 1024

func (r *recentIDs) add(id uint32) {
	if len(r.ids) < recentResets {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.next] = id
	r.next = (r.next + 1) % recentResets
}

func (r *recentIDs) has(id uint32) bool {
	for _, x := range r.ids {
		if x == id {
			return true
		}
	}
	return false
}

// passedIDs remembers the gaps that the peer has left between the streams it
// opened: "The first use of a new stream identifier implicitly closes all
// streams in the 'idle' state that might have been initiated by that peer with a
// lower-valued stream identifier" (RFC 9113 §5.1.1). A peer that leaves many is
// remembered by the latest: those before count as closed streams.
type passedIDs struct {
	gaps [passedGaps]struct{ after, before uint32 }
	next int
}

const passedGaps = 8

// opened says that the peer has opened a stream, the last one before it being
// last.
func (p *passedIDs) opened(last, id uint32) {
	if id-last <= 2 {
		return
	}
	p.gaps[p.next].after, p.gaps[p.next].before = last, id
	p.next = (p.next + 1) % passedGaps
}

// has reports whether id is in a gap.
func (p *passedIDs) has(id uint32) bool {
	for _, g := range p.gaps {
		if g.after < id && id < g.before {
			return true
		}
	}
	return false
}
