package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/wsmux/websocket"
)

// sizes are the sizes in bytes of a socket's messages, in turn: empty, on both
// sides of where a frame's header grows (RFC 6455 §5.2), and up to 1 MiB.
var sizes = [...]int{5, 0, 1, 125, 126, 1 << 10, 1 << 20, 100, 65535, 65536, 700, 64, 4 << 10, 300, 1000, 32}

// smallMessage is the size in bytes up to which a message's round trip is
// counted in the report's figures.
const smallMessage = 1 << 10

// payload returns message i of socket number s: text and binary in turn, each
// different from every other of more than a few bytes, so that a message which
// strays to another socket, or arrives twice, is found out. Text compresses well;
// binary data does not at all, and is marked as not worth the attempt. The
// sockets begin at different sizes, so that they do not all send their largest at
// once.
func payload(s, i int) (websocket.MessageType, []byte) {
	turn := i + 5*s
	size := sizes[turn%len(sizes)]
	if (turn+turn/len(sizes))%2 == 0 {
		return websocket.MessageText, text(s, i, size)
	}
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:8], uint64(s))
	binary.BigEndian.PutUint64(seed[8:16], uint64(i))
	p := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(p) // never fails
	return websocket.MessageBinary.Uncompressed(), p
}

// text returns size bytes of UTF-8 with characters of all lengths.
func text(s, i, size int) []byte {
	p := make([]byte, 0, size)
	var line []byte
	for n := 0; ; n++ {
		line = fmt.Appendf(line[:0], "socket %d, message %d, line %d: zażółć 日本語 🙂\n", s, i, n)
		if len(p)+len(line) > size {
			return append(p, bytes.Repeat([]byte{'.'}, size-len(p))...)
		}
		p = append(p, line...)
	}
}
