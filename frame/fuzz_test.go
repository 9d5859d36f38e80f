package frame

import (
	"bytes"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// A setting is a Receiver's configuration in one byte of fuzz input.
type setting byte

const (
	setClient setting = 1 << iota
	setDeflate
	setSizes     // small limits on sizes
	setFragments // small limits on fragments
)

func (s setting) side() Side {
	if s&setClient != 0 {
		return Client
	}
	return Server
}

func (s setting) receiver() *Receiver {
	r := &Receiver{Side: s.side(), Deflate: s&setDeflate != 0}
	if s&setSizes != 0 {
		r.MaxMessage, r.MaxCompressed = 50, 20
	}
	if s&setFragments != 0 {
		r.MaxFragments, r.MaxEmptyFragments = 5, 2
	}
	return r
}

func (s setting) naive() naive {
	r := s.receiver()
	return naive{
		server: r.Side == Server, deflate: r.Deflate,
		maxMessage: uint64(r.MaxMessage), maxCompressed: uint64(r.MaxCompressed),
		maxFragments: r.MaxFragments, maxEmptyFragments: r.MaxEmptyFragments,
	}
}

// addStreams adds seeds: the streams of the tables and others that break rules
// somewhere, each under every setting that makes a difference.
func addStreams(f *testing.F) {
	add := func(side Side, deflate bool, p []byte) {
		if len(p) > 1000 {
			return
		}
		s := setting(0)
		if side == Client {
			s |= setClient
		}
		if deflate {
			s |= setDeflate
		}
		for limits := range setting(4) {
			f.Add(byte(s|limits*setSizes), p)
		}
	}
	for _, tc := range valid {
		add(tc.side, tc.deflate, tc.wire)
	}
	for _, tc := range badText {
		add(Server, false, wire(Server, Header{Fin: true, Opcode: Text}, tc.text))
		add(Client, false, stream(wire(Client, Header{Opcode: Text}, tc.text), wire(Client, Header{Fin: true}, "")))
	}
	for _, tc := range closePayloads {
		add(Server, false, wire(Server, Header{Fin: true, Opcode: Close}, tc.payload))
	}
	for _, tc := range headers {
		add(Client, true, wireOf(tc.bits, tc.rest))
		add(Server, true, wireOf(tc.bits, tc.rest))
	}
	for _, length := range []int64{-1, math.MinInt64, math.MaxInt64, 1 << 40, math.MaxUint32} {
		for _, side := range []Side{Server, Client} {
			add(side, false, append(Header{Opcode: Binary, Masked: side == Server, Length: length}.Append(nil), "payload"...))
		}
	}
	add(Client, false, bytes.Repeat(wire(Client, Header{}, ""), 10))
	add(Client, false, append(wire(Client, Header{Opcode: Text}, ""), bytes.Repeat(wire(Client, Header{}, ""), 10)...))
	add(Client, false, append(wire(Client, Header{Opcode: Text}, "a"), bytes.Repeat(wire(Client, Header{}, "b"), 10)...))
}

// Property 1: whatever comes, a Receiver does not panic and does not ask for
// memory, least of all because a header declares a length.
func FuzzReceiverAsksForNoMemory(f *testing.F) {
	addStreams(f)
	f.Fuzz(func(t *testing.T, s byte, in []byte) {
		r := setting(s).receiver()
		p := bytes.Clone(in)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for len(p) > 0 {
			ev, n, err := r.Next(p)
			if err == nil && n == 0 && ev.Kind == NeedMore {
				break
			}
			p = p[n:]
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<10 { // WS-06; others allocate meanwhile
			t.Fatalf("%d bytes allocated for %d bytes of input", grown, len(in))
		}
	})
}

// Property 2: the bytes given whole, one at a time, cut at random or straight to
// their places give the same frames and the same error.
func FuzzReceiverSplit(f *testing.F) {
	addStreams(f)
	f.Fuzz(func(t *testing.T, s byte, in []byte) {
		want, wantErr := feed(t, setting(s).receiver(), in, whole)
		same := func(how string, got []taken, err error) {
			require.Equal(t, want, got, how)
			require.Equal(t, wantErr, err, how)
		}
		got, err := feed(t, setting(s).receiver(), in, single)
		same("one byte at a time", got, err)
		got, err = feedStraight(t, setting(s).receiver(), in, whole)
		same("straight", got, err)

		seed := fnv.New64a() // the same cuts for the same input
		seed.Write(in)
		rng := rand.New(rand.NewPCG(seed.Sum64(), 0))
		for range 3 {
			got, err = feed(t, setting(s).receiver(), in, randomly(rng))
			same("cut at random", got, err)
			got, err = feedStraight(t, setting(s).receiver(), in, randomly(rng))
			same("straight, cut at random", got, err)
		}
	})
}

// Property 3: encoding and decoding are each other's inverse. Every header comes
// back from its bytes, and every header's bytes come back from it, since there is
// one form of each only.
func FuzzHeaderRoundTrip(f *testing.F) {
	for _, tc := range headers {
		wire := wireOf(tc.bits, tc.rest)
		f.Add(wire, wire[0], tc.header.Masked, uint64(tc.header.Length), []byte("payload"))
		f.Add(wire, wire[0], !tc.header.Masked, uint64(tc.header.Length), []byte{})
	}
	for _, tc := range closePayloads {
		f.Add([]byte{}, byte(0x88), true, uint64(len(tc.payload)), []byte(tc.payload))
	}
	f.Fuzz(func(t *testing.T, wire []byte, first byte, masked bool, length uint64, payload []byte) {
		if h, n, err := ParseHeader(wire); n > 0 {
			require.NoError(t, err)
			require.Equal(t, wire[:n], h.Append(nil))
			require.Equal(t, n, h.Size())
		}

		h := Header{
			Fin: first&0x80 != 0, RSV1: first&0x40 != 0, RSV2: first&0x20 != 0, RSV3: first&0x10 != 0,
			Opcode: Opcode(first & 0xF), Masked: masked, Length: int64(length &^ (1 << 63)),
		}
		if masked {
			copy(h.Key[:], payload)
		}
		encoded := h.Append(nil)
		got, n, err := ParseHeader(append(encoded, payload...))
		require.NoError(t, err)
		require.Equal(t, len(encoded), n)
		require.Equal(t, h, got)

		hidden := AppendMasked(nil, payload, h.Key, int(length%4))
		require.True(t, bytes.Equal(naiveMask(payload, h.Key, int(length%4)), hidden))
		Mask(hidden, h.Key, int(length%4))
		require.True(t, bytes.Equal(payload, hidden))

		if code, reason, err := ParseClose(payload); err == nil && len(payload) <= MaxControlPayload {
			p, err := AppendClose(nil, code, reason)
			require.NoError(t, err)
			require.True(t, bytes.Equal(payload, p))
		}
	})
}

// Property 4: what a Sender accepts, the opposite Receiver accepts, and reports
// as it was sent. And the converse: what a Sender refuses, that Receiver would
// refuse in its place.
func FuzzSenderAndReceiverAgree(f *testing.F) {
	// A script of frames: first header byte, payload size, payload.
	f.Add(byte(0), []byte("\x81\x05Hello\x01\x03Hel\x89\x00\x80\x02lo\x88\x02\x03\xe8\x81\x00"))
	f.Add(byte(setDeflate), []byte("\xC1\x01\xFF\x41\x02\xC0\xC0\x00\x00\xC0\x00\xC9\x00\x80\x01\xC0\x81\x01\xC0"))
	f.Add(byte(setClient), []byte("\x01\x03ab\xE2\x80\x00\x00\x01\x82\x00\x00\x80\x01\xAC\x82\x01\xFF"))
	f.Add(byte(setClient|setDeflate), []byte("\x02\x00\x82\x00\x0A\x00\x8B\x00\xA0\x00\x90\x00\x83\x00\x88\x01\x03\x88\x02\x03\xED\x88\x00"))
	f.Add(byte(0), append([]byte("\x89\x7E"), bytes.Repeat([]byte{'p'}, 130)...))
	f.Fuzz(func(t *testing.T, s byte, script []byte) {
		to := setting(s) & (setClient | setDeflate)
		from := Client
		if to.side() == Client {
			from = Server
		}
		sender := Sender{Side: from, Deflate: to&setDeflate != 0}
		receiver := to.receiver()
		for len(script) >= 2 {
			first, n := script[0], min(int(script[1]), len(script)-2)
			payload := script[2 : 2+n]
			script = script[2+n:]
			h := Header{
				Fin: first&0x80 != 0, RSV1: first&0x40 != 0, RSV2: first&0x20 != 0, RSV3: first&0x10 != 0,
				Opcode: Opcode(first & 0xF), Key: [4]byte{first, byte(n), 0xA5, 0x5A},
			}

			before := sender
			sent, err := sender.Append([]byte{}, h, payload)
			if err != nil {
				require.Empty(t, sent)
				require.Equal(t, before, sender)
				if before.closed {
					require.ErrorIs(t, err, ErrClosed)
					return
				}
				h.Masked, h.Length = from == Client, int64(n)
				sent = h.Append(nil)
				if h.Masked {
					sent = AppendMasked(sent, payload, h.Key, 0)
				} else {
					sent = append(sent, payload...)
				}
				other := *receiver
				_, err := feed(t, &other, sent, whole)
				require.Error(t, err, "refused by the sender only")
				continue
			}

			got, err := feed(t, receiver, sent, whole)
			require.NoError(t, err)
			require.Len(t, got, 1)
			require.Equal(t, string(payload), got[0].Payload)
			if h.Opcode.IsControl() {
				require.Equal(t, taken{Kind: Control, Opcode: h.Opcode, Payload: string(payload)}, got[0])
				continue
			}
			require.Equal(t, h.Fin, got[0].Last)
			require.Equal(t, h.Opcode != Continuation, got[0].First)
			if h.Opcode != Continuation {
				require.Equal(t, h.Opcode, got[0].Opcode)
				require.Equal(t, h.RSV1, got[0].Compressed)
			}
		}
	})
}

// Property 5: a Receiver agrees with the naive decoder.
func FuzzReceiverAgainstNaive(f *testing.F) {
	addStreams(f)
	f.Fuzz(func(t *testing.T, s byte, in []byte) {
		want, wantCode := setting(s).naive().decode(in)
		got, err := feed(t, setting(s).receiver(), in, whole)
		require.Equal(t, wantCode, codeOf(err), "%v", err)
		require.Equal(t, want, got)
	})
}
