package h3connect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"golang.org/x/net/http/httpguts"
)

// Bounds on the field section of the answer to a CONNECT of ours: the decoded
// size as RFC 9114 §4.2.2 counts it, and the number of fields.
const (
	maxAnswerBytes  = 16 << 10
	maxAnswerFields = 256
)

// fieldOverhead is what a field counts beside its name and value.
const fieldOverhead = 32

// connectFrame returns the HEADERS frame that asks for a socket (RFC 9220 §3,
// RFC 8441 §5) and the size of its field section. req comes from
// handshake.Request.
func connectFrame(req *http.Request) (frame []byte, size uint64) {
	fields := []qpack.HeaderField{
		{Name: ":method", Value: http.MethodConnect},
		{Name: ":protocol", Value: "websocket"},
		{Name: ":scheme", Value: req.URL.Scheme},
		{Name: ":authority", Value: req.Host},
		{Name: ":path", Value: req.URL.RequestURI()},
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		for _, v := range req.Header[name] {
			fields = append(fields, qpack.HeaderField{Name: strings.ToLower(name), Value: v})
		}
	}
	var section bytes.Buffer
	enc := qpack.NewEncoder(&section)
	for _, f := range fields {
		size += uint64(len(f.Name) + len(f.Value) + fieldOverhead)
		_ = enc.WriteField(f) // a bytes.Buffer takes everything
	}
	frame = quicvarint.Append(nil, frameHeaders)
	frame = quicvarint.Append(frame, uint64(section.Len()))
	return append(frame, section.Bytes()...), size
}

// malformed is the stream error for an answer that is not HTTP (RFC 9114
// §4.1.2).
func malformed(text string) error {
	return &frameError{code: http3.ErrCodeMessageError, text: "malformed response: " + text}
}

// parseAnswer decodes a field section into a response without body. The error is
// a *frameError.
func parseAnswer(section []byte) (*http.Response, error) {
	resp := &http.Response{
		Proto:      "HTTP/3.0",
		ProtoMajor: 3,
		Header:     make(http.Header),
		// "A client MUST ignore any Content-Length or Transfer-Encoding header
		// fields received in a successful response to CONNECT."
		// https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
		ContentLength: -1,
	}
	next := qpack.NewDecoder().Decode(section)
	size, count, regular := 0, 0, false
	for {
		f, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			// "QPACK_DECOMPRESSION_FAILED (0x0200): The decoder failed to
			// interpret an encoded field section and is not able to continue
			// decoding that field section."
			// https://www.rfc-editor.org/rfc/rfc9204#section-6
			return nil, &frameError{code: http3.ErrCodeQPACKDecompressionFailed, conn: true, text: err.Error()}
		}
		size += len(f.Name) + len(f.Value) + fieldOverhead
		count++
		if size > maxAnswerBytes || count > maxAnswerFields {
			return nil, errAnswerTooLarge
		}
		if f.IsPseudo() {
			if regular || f.Name != ":status" || resp.StatusCode != 0 {
				return nil, malformed("unexpected pseudo-header field")
			}
			if resp.StatusCode, err = parseStatus(f.Value); err != nil {
				return nil, err
			}
			continue
		}
		regular = true
		if err := checkField(f); err != nil {
			return nil, err
		}
		resp.Header.Add(f.Name, f.Value)
	}
	if resp.StatusCode == 0 {
		return nil, malformed("no :status")
	}
	resp.Status = strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)
	return resp, nil
}

var errAnswerTooLarge = &frameError{
	code: http3.ErrCodeExcessiveLoad,
	text: fmt.Sprintf("the answer has more than %d bytes or %d fields", maxAnswerBytes, maxAnswerFields),
}

// parseStatus reads three digits (RFC 9110 §15).
func parseStatus(s string) (int, error) {
	code, err := strconv.Atoi(s)
	if err != nil || len(s) != 3 || code < 100 {
		return 0, malformed("invalid :status")
	}
	return code, nil
}

// checkField checks a regular field (RFC 9114 §4.2).
func checkField(f qpack.HeaderField) error {
	if !httpguts.ValidHeaderFieldName(f.Name) || f.Name != strings.ToLower(f.Name) {
		return malformed("invalid field name")
	}
	if !httpguts.ValidHeaderFieldValue(f.Value) || strings.Trim(f.Value, " \t") != f.Value {
		return malformed("invalid field value")
	}
	// "An endpoint MUST NOT generate an HTTP/3 field section containing
	// connection-specific fields; any message containing connection-specific
	// fields MUST be treated as malformed."
	// https://www.rfc-editor.org/rfc/rfc9114#section-4.2
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te":
		return malformed("connection-specific field")
	}
	return nil
}

// readAnswer reads the HEADERS frame of a response, and what may stand before
// it, and not one byte more. The error is a *frameError or the stream's.
func readAnswer(qs io.Reader) (*http.Response, error) {
	r := quicvarint.NewReader(qs)
	idle := uint64(0)
	for range maxIdleFrames {
		t, err := quicvarint.Read(r)
		if err != nil {
			return nil, noAnswer(err)
		}
		length, err := quicvarint.Read(r)
		if err != nil {
			return nil, truncated(err)
		}
		switch {
		case t == frameHeaders:
			if length > maxAnswerBytes {
				return nil, errAnswerTooLarge
			}
			section := make([]byte, length) // bounded
			if _, err := io.ReadFull(qs, section); err != nil {
				return nil, truncated(err)
			}
			return parseAnswer(section)
		case knownType(t) || reservedType(t):
			return nil, &frameError{code: http3.ErrCodeFrameUnexpected, conn: true, text: "expected a HEADERS frame"}
		}
		if idle += length; length > maxIdleBytes || idle > maxIdleBytes {
			break
		}
		if _, err := io.CopyN(io.Discard, qs, int64(length)); err != nil {
			return nil, truncated(err)
		}
	}
	return nil, &frameError{code: http3.ErrCodeExcessiveLoad, text: "too much in frames of unknown types"}
}

// noAnswer turns the orderly end of a stream without a response into an error of
// the message (RFC 9114 §4.1).
func noAnswer(err error) error {
	if err == io.EOF {
		return malformed("the stream ended without one")
	}
	return err
}

// truncated turns the orderly end of a stream within a frame into the error that
// it is (RFC 9114 §7.1).
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &frameError{code: http3.ErrCodeFrameError, conn: true, text: "the stream ended within a frame"}
	}
	return err
}
