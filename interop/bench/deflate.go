package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/wsmux/websocket"
)

// compressed is messages that are compressed.
func compressed(d time.Duration) []benchmark {
	return []benchmark{{
		name:       "1 KiB like JSON, permessage-deflate with context takeover, 100 sockets",
		load:       load{Kind: echoing, Size: 1 << 10, Sockets: 100, Deflate: true, Time: d},
		contenders: []string{"h1 loop", "h1 handler", "h2 loop", "h2 handler", "h3 loop", "gws"}, shows: []metric{perSecond, serverCPU, clientCPU, wire},
		goals: []goal{{"h1 loop", perSecond, []string{"gws"}, 1.5}},
	}}
}

// variety is how many different messages a socket sends in turn: with context
// takeover one message again and again would be a single reference. They are more
// than the window holds.
const variety = 64

// varied makes the messages that socket i sends in turn, none if one is enough.
func varied(l load, i int) (list [][]byte) {
	if !l.Deflate {
		return nil
	}
	for k := range variety {
		list = append(list, jsonLike(l.Size, i*variety+k))
	}
	return list
}

// jsonLike makes text such as applications send: field names that repeat, and
// values that do not.
func jsonLike(size, i int) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	b := []byte("01234567[")
	for len(b) < size {
		b = fmt.Appendf(b, `{"id":%d,"user":"user-%d","price":%d.%02d,"side":"%s","ok":true},`,
			r.IntN(1e6), r.IntN(1e4), r.IntN(1e3), r.IntN(100), []string{"buy", "sell"}[r.IntN(2)])
	}
	return b[:size]
}

// wireBytes returns the payload bytes that a compressed answer has had on the wire,
// on average, 0 where none was.
func wireBytes(sockets []socket) float64 {
	var messages, bytes int64
	for _, s := range sockets {
		if s, ok := s.(*sender); ok {
			stats := (*websocket.Conn)(s).Stats()
			messages += stats.MessagesRead
			bytes += stats.CompressedRead
		}
	}
	if messages == 0 {
		return 0
	}
	return float64(bytes) / float64(messages)
}
