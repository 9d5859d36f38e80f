package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
)

// wireH1 is the client of HTTP/1.1 servers: a TLS connection for each socket.
func wireH1(t task) client {
	d := tls.Dialer{Config: clientTLS(t, "http/1.1")}
	return &streamClient{
		dial: func(ctx context.Context, _ int) (io.ReadWriter, error) {
			c, err := d.DialContext(ctx, "tcp", t.Addr)
			if err != nil {
				return nil, err
			}
			return c, upgrade(c, t.Addr)
		},
		framing: func(got piece) framing { return newWSFraming(got) },
	}
}

// upgrade does the opening handshake of RFC 6455 §4.1.
func upgrade(c io.ReadWriter, host string) error {
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(c, 1<<10)
	resp, err := http.ReadResponse(r, nil)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("upgrade: %s", resp.Status)
	case resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=":
		return fmt.Errorf("upgrade: wrong Sec-WebSocket-Accept")
	case r.Buffered() > 0:
		return fmt.Errorf("the server spoke first")
	}
	return nil
}
