package h2spec

import (
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/spec"
	"golang.org/x/net/http2"
)

// laterCases are the cases that later versions of the suite have added or put
// right. Those cannot be had as a module: their go.mod lacks the version suffix.
func laterCases() []serverCase {
	return []serverCase{
		{"later/hpack/2.3.3/2", &spec.TestCase{
			Desc:        "a literal whose name has an index past the tables",
			Requirement: "This is a decoding error (RFC 7541 §2.3.3).",
			Run:         badBlock("\x7f\x25\x00"), // incremental indexing, index 100, no value
		}},
		{"later/hpack/5.2/3", &spec.TestCase{
			Desc:        "a Huffman-coded value with EOS between two letters",
			Requirement: "This is a decoding error (RFC 7541 §5.2).",
			Run:         badBlock("\x00\x01x\x85\x1f\xff\xff\xff\xe3"), // 00011, 30 ones, 00011
		}},
		{"later/http2/6.7/4", &spec.TestCase{
			Desc:        "a PING frame of six bytes, on stream 0",
			Requirement: "This is a connection error of type FRAME_SIZE_ERROR (RFC 9113 §6.7).",
			Run: func(c *config.Config, conn *spec.Conn) error {
				if err := conn.Handshake(); err != nil {
					return err
				}
				conn.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 6))
				return spec.VerifyConnectionError(conn, http2.ErrCodeFrameSize)
			},
		}},
	}
}

// badBlock sends a request whose header block ends with these bytes.
func badBlock(end string) func(*config.Config, *spec.Conn) error {
	return func(c *config.Config, conn *spec.Conn) error {
		if err := conn.Handshake(); err != nil {
			return err
		}
		conn.WriteHeaders(http2.HeadersFrameParam{
			StreamID: 1, EndStream: true, EndHeaders: true,
			BlockFragment: append(conn.EncodeHeaders(spec.CommonHeaders(c)), end...),
		})
		return spec.VerifyConnectionError(conn, http2.ErrCodeCompression)
	}
}
