package soak

import (
	"hash/maphash"
	"math/rand/v2"
	"unicode/utf8"

	"github.com/wsmux/websocket"
)

// A messagePlan says what a message holds.
type messagePlan struct {
	typ    websocket.MessageType
	secret bool // written as Uncompressed
	size   int
	style  style
	seed   uint64
	lane   byte // the first byte, 0 for none
}

// A style is how well a message compresses.
type style int

const (
	words  style = iota // well
	noise               // not at all
	desert              // to nothing
	styles
)

// alphabet has code points of every length in UTF-8, and those on its borders.
var alphabet = []rune("aeinrst ,.\u007f\u0080\u07ff\u0800\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff")

// bytes returns the message.
func (m messagePlan) bytes() []byte {
	r := rand.New(rand.NewPCG(m.seed, uint64(m.size)))
	b := make([]byte, 0, m.size)
	if m.lane != 0 {
		b = append(b, m.lane)
	}
	for len(b) < m.size {
		if m.style == noise && m.typ == websocket.MessageBinary {
			b = append(b, byte(r.Uint32()))
			continue
		}
		c := m.style.character(r)
		if utf8.RuneLen(c) > m.size-len(b) {
			c = 'x'
		}
		b = utf8.AppendRune(b, c)
	}
	return b
}

func (s style) character(r *rand.Rand) rune {
	switch s {
	case desert:
		return 'x'
	case noise:
		return rune(r.IntN(0xd800))
	}
	return alphabet[r.IntN(len(alphabet))]
}

// A message is what is kept of one: enough to tell that it is the same.
type message struct {
	typ  websocket.MessageType
	size int
	hash uint64
	lane byte
}

var hashSeed = maphash.MakeSeed()

func digest(t websocket.MessageType, p []byte) message {
	m := message{typ: t, size: len(p), hash: maphash.Bytes(hashSeed, p)}
	if len(p) > 0 {
		m.lane = p[0]
	}
	return m
}
