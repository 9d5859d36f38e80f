package websocket

import (
	"context"
	"io"
	"net"
)

// A Conn is a socket. (Stub: being written.)
type Conn struct{}

func New(s Stream, p Params) *Conn                                                    { panic("stub") }
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error)                 { panic("stub") }
func (c *Conn) ReadInto(ctx context.Context, buf []byte) (MessageType, []byte, error) { panic("stub") }
func (c *Conn) Reader(ctx context.Context) (MessageType, io.Reader, error)            { panic("stub") }
func (c *Conn) Write(ctx context.Context, t MessageType, p []byte) error              { panic("stub") }
func (c *Conn) Writer(ctx context.Context, t MessageType) (io.WriteCloser, error)     { panic("stub") }
func (c *Conn) WritePrepared(ctx context.Context, m *PreparedMessage) error           { panic("stub") }
func (c *Conn) ReadJSON(ctx context.Context, v any) error                             { panic("stub") }
func (c *Conn) WriteJSON(ctx context.Context, v any) error                            { panic("stub") }
func (c *Conn) Ping(ctx context.Context) error                                        { panic("stub") }
func (c *Conn) Close(ctx context.Context, code StatusCode, reason string) error       { panic("stub") }
func (c *Conn) CloseNow() error                                                       { panic("stub") }
func (c *Conn) Subprotocol() string                                                   { panic("stub") }
func (c *Conn) Bootstrap() Bootstrap                                                  { panic("stub") }
func (c *Conn) SetReadLimit(n int64)                                                  { panic("stub") }
func (c *Conn) NetConn(t MessageType) net.Conn                                        { panic("stub") }
func (c *Conn) Stats() Stats                                                          { panic("stub") }

type PreparedMessage struct{}

func NewPreparedMessage(t MessageType, p []byte) (*PreparedMessage, error) { panic("stub") }

type Stats struct{}
