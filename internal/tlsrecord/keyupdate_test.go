package tlsrecord

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
)

// A sealer writes TLS 1.3 records by hand, with what crypto/tls has agreed on.
type sealer struct {
	t      *testing.T
	secret []byte
	seq    uint64
}

func (s *sealer) expand(label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(append(info, byte(6+len(label))), "tls13 "+label...), 0)
	key, err := hkdf.Expand(sha256.New, s.secret, string(info), n)
	require.NoError(s.t, err)
	return key
}

// seal returns a record (RFC 8446 §5.2).
func (s *sealer) seal(kind byte, content ...byte) []byte {
	block, err := aes.NewCipher(s.expand("key", 16))
	require.NoError(s.t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(s.t, err)
	nonce := s.expand("iv", 12)
	for i := range 8 {
		nonce[4+i] ^= byte(s.seq >> (56 - 8*i))
	}
	s.seq++
	header := []byte{23, 3, 3, 0, byte(len(content) + 1 + aead.Overhead())}
	return aead.Seal(header, nonce, append(content, kind), header)
}

// keyUpdate returns the record that asks for new keys (RFC 8446 §4.6.3).
func (s *sealer) keyUpdate() []byte {
	record := s.seal(22, 24, 0, 0, 1, 1)
	s.secret, s.seq = s.expand("traffic upd", sha256.Size), 0
	return record
}

// TestCloseDoesNotWaitForAPeerThatAsksForKeys: while a write waits for the peer, which
// asks for more answers than are held.
func TestCloseDoesNotWaitForAPeerThatAsksForKeys(t *testing.T) {
	a, b := net.Pipe()
	server, client := wstest.Certificates()
	var secrets bytes.Buffer
	client.ServerName, client.KeyLogWriter = "localhost", &secrets
	near, far := tls.Server(New(a), server), tls.Client(b, client)
	done := make(chan error)
	go func() { done <- far.Handshake() }()
	require.NoError(t, near.Handshake())
	require.NoError(t, <-done)
	if far.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("without AES in hardware another cipher is agreed on")
	}
	s := &sealer{t: t}
	for line := range strings.Lines(secrets.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			var err error
			s.secret, err = hex.DecodeString(f[2])
			require.NoError(t, err)
		}
	}

	wrote, read := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := Write(near, make([]byte, 2*Size))
		wrote <- err
	}()
	go func() {
		_, err := io.Copy(io.Discard, near)
		read <- err
		if err != nil {
			near.Close()
		}
	}()
	_, err := io.ReadFull(b, make([]byte, 1)) // the write has begun, and nothing more is read
	require.NoError(t, err)
	const answer = 5 + 5 + 1 + 16
	require.NoError(t, b.SetWriteDeadline(time.Now().Add(10*time.Second)))
	for n := 0; err == nil; n++ {
		var p []byte
		if n%16 == 0 { // crypto/tls refuses more of them without data between
			p = s.seal(23, 'x')
		}
		_, err = b.Write(append(p, s.keyUpdate()...))
		require.LessOrEqual(t, n, together/answer+3, "there is no bound")
	}
	assert.ErrorIs(t, err, io.ErrClosedPipe)
	a.Close()
	assert.Error(t, <-read)
	assert.ErrorIs(t, <-wrote, errUnread)
}
