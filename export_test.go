package websocket

// AtRest reports whether c holds nothing of what reading needs, and no timer. Nobody
// reads or writes.
func AtRest(c *Conn) bool {
	o := c.out.Load()
	return c.in == nil && (o == nil || o.stall.timer == nil)
}

// HoldInput takes the reading gate of c, which nobody has, until release is called.
func HoldInput(c *Conn) (release func()) {
	c.reading.lineUp()
	return c.reading.unlock
}

// HoldsCompressor reports whether c has a compressor of its own. Nobody writes.
func HoldsCompressor(c *Conn) bool { return c.out.Load().deflater != nil }
