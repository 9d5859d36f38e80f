package h2connect

// Window updates and pings are how a peer keeps a connection going, so they are
// no glitches as long as there is something that they can be about. An upkeep
// counts how many of them the peer's and our own traffic has made plausible;
// those beyond count as glitches, in the bucket of Limits.GlitchBurst.
//
// The shape is Envoy's: a WINDOW_UPDATE answers a stream or DATA that we sent.
// But its 2 × (streams + 10 × DATA frames) takes frames of any size for the
// same, and a peer that consumes a large frame by the kilobyte may announce
// every one; so bytes count too. A PING measures: a peer that estimates the
// bandwidth sends one per DATA frame at most, having waited for the last one's
// answer.
type upkeep struct {
	updates int64
	pings   int64
}

const (
	updatesPerStream = 4  // for the stream and the connection, twice
	updatesPerData   = 20 // as Envoy
	bytesPerUpdate   = 64
)

// opened says that a stream has been opened, by either side.
func (u *upkeep) opened() {
	u.updates += updatesPerStream
	u.pings++
}

// sent says that we have sent n bytes in a DATA frame.
func (u *upkeep) sent(n int) {
	u.updates += updatesPerData
	u.pings++
	u.sentMore(n)
}

// sentMore says that we have put n more bytes into a DATA frame.
func (u *upkeep) sentMore(n int) { u.updates += int64(n) / bytesPerUpdate }

// received says that a DATA frame with content has arrived.
func (u *upkeep) received() { u.pings++ }

// update takes a WINDOW_UPDATE and reports whether it was to be expected.
func (u *upkeep) update() bool { return pay(&u.updates) }

// ping takes a PING and reports whether it was to be expected.
func (u *upkeep) ping() bool { return pay(&u.pings) }

func pay(n *int64) bool {
	if *n == 0 {
		return false
	}
	*n--
	return true
}
