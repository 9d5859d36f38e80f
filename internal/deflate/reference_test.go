package deflate

import (
	"bytes"
	stdflate "compress/flate"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// finalBlock is an empty stored block with BFINAL.
var finalBlock = []byte{1, 0, 0, 0xff, 0xff}

// A streamReader is a reader of one DEFLATE stream, such as compress/flate's.
type streamReader func(r io.Reader, dict []byte) io.ReadCloser

// inflate reads DEFLATE streams one after the other, each with the output
// before it as its window, until there is no input, and returns what they hold.
func (open streamReader) inflate(data ...[]byte) (out []byte, err error) {
	in := bytes.NewReader(bytes.Join(data, nil))
	r := open(in, nil)
	for in.Len() > 0 {
		if err = r.(stdflate.Resetter).Reset(in, out[max(0, len(out)-1<<15):]); err != nil {
			return out, err
		}
		made, err := io.ReadAll(r)
		out = append(out, made...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// message inflates a message as RFC 7692 §7.2.2 says: it appends 00 00 ff ff.
// So that it can be seen whether these ended a block, an empty block with
// BFINAL follows.
//
// It differs from inflating in that those octets must be the length of an empty
// stored block, as the sender has made them (§7.2.1): there the length of
// another stored block would have to fit just as well.
func (open streamReader) message(message []byte) ([]byte, error) {
	if len(message) == 0 {
		return nil, nil
	}
	out, err := open.inflate(message, syncTail, finalBlock)
	if err != nil {
		return out, err
	}
	other, err := open.inflate(message, []byte{1, 0, 0xfe, 0xff, 'A'}, finalBlock)
	if err == nil && !bytes.Equal(other, append(out, 'A')) {
		err = errUnfinished
	}
	return out, err
}

// wantAgreement checks that our decoder makes of a message what the two others
// make of it. Where it is an error, each may have made more before it noticed:
// ours rejects a block without an end code before it has read it, and does not
// take 00 00 ff ff for data.
func wantAgreement(t *testing.T, message []byte) {
	t.Helper()
	got, err := inflateAll(NewInflater(15, false), message)
	for name, open := range map[string]streamReader{
		"compress/flate": stdflate.NewReaderDict,
		"klauspost":      flate.NewReaderDict,
	} {
		want, wantErr := open.message(message)
		if !assert.Equal(t, wantErr == nil, err == nil, "%s: %v; ours: %v", name, wantErr, err) {
			continue
		}
		n := min(len(want), len(got))
		assert.True(t, bytes.Equal(want[:n], got[:n]), name)
		if err == nil {
			assert.Len(t, got, len(want), name)
		}
	}
}

func TestAgreementWithOtherDecoders(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for i := range 300 {
		plain := mixedData(r.IntN(1<<r.IntN(16)), r)
		var c []byte
		if i%3 == 0 {
			var b bytes.Buffer
			w, err := stdflate.NewWriter(&b, r.IntN(12)-2)
			require.NoError(t, err)
			half := r.IntN(len(plain) + 1)
			_, err = w.Write(plain[:half])
			require.NoError(t, err)
			require.NoError(t, w.Flush())
			_, err = w.Write(plain[half:])
			require.NoError(t, err)
			require.NoError(t, w.Close())
			c = append(b.Bytes(), 0)
		} else {
			c = deflateMessage(t, plain, 1+i%9, 15)
		}
		wantAgreement(t, c)
		for range 1 + i%3 {
			c[r.IntN(len(c))] ^= 1 << r.IntN(8)
			wantAgreement(t, c)
		}
	}
}
