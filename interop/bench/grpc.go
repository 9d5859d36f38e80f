package main

import (
	"context"
	"io"
	"net"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
)

func init() {
	add("gRPC", &contender{
		about: "google.golang.org/grpc, a bidirectional stream of messages that are bytes as they are", transport: "h2", shared: true,
		serve: serveGRPC,
		client: func(t task) client {
			return &grpcClient{task: t, conns: make(map[int]*grpc.ClientConn)}
		},
	})
}

// A bytesCodec passes *[]byte through.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "bytes" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	p := v.(*[]byte)
	*p = append((*p)[:0], make([]byte, data.Len())...)
	data.CopyTo(*p)
	return nil
}

func serveGRPC(load) (ready, error) {
	config, cert := serverTLS("h2")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ready{}, err
	}
	srv := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.ForceServerCodecV2(bytesCodec{}),
		grpc.MaxConcurrentStreams(manyStreams),
		grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
			for {
				var p []byte // not used again: sending does not wait for the bytes to go
				if s.RecvMsg(&p) != nil || s.SendMsg(&p) != nil {
					return nil
				}
			}
		}),
	)
	go srv.Serve(l) // ends with the process
	return ready{Addr: l.Addr().String(), Cert: cert}, nil
}

type grpcClient struct {
	task   task
	opened int
	mu     sync.Mutex
	conns  map[int]*grpc.ClientConn
}

func (c *grpcClient) conn(i int) (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns[i] == nil {
		cc, err := grpc.NewClient(c.task.Addr, grpc.WithTransportCredentials(credentials.NewTLS(clientTLS(c.task))))
		if err != nil {
			return nil, err
		}
		c.conns[i] = cc
	}
	return c.conns[i], nil
}

var echoStream = grpc.StreamDesc{StreamName: "Echo", ClientStreams: true, ServerStreams: true}

func (c *grpcClient) open(ctx context.Context, n, conns int, got received) ([]socket, error) {
	first := c.opened
	c.opened += n
	sockets := make([]socket, n)
	var g errgroup.Group
	g.SetLimit(dialsAtOnce)
	for k := range n {
		g.Go(func() error {
			cc, err := c.conn(k % conns)
			if err != nil {
				return err
			}
			s, err := cc.NewStream(ctx, &echoStream, "/bench/Echo", grpc.ForceCodecV2(bytesCodec{}))
			if err != nil {
				return err
			}
			if err := s.SendMsg(new([]byte)); err != nil { // a stream opens with its first message
				return err
			}
			var p []byte
			if err := s.RecvMsg(&p); err != nil {
				return err
			}
			sockets[k] = grpcSocket{s}
			go func() { // ends with the stream
				for s.RecvMsg(&p) == nil {
					got(first+k, p, true)
				}
			}()
			return nil
		})
	}
	return sockets, g.Wait()
}

func (c *grpcClient) fetch(context.Context) (io.ReadCloser, error) { return nil, errNoDownloads }

type grpcSocket struct{ stream grpc.ClientStream }

func (s grpcSocket) send(p []byte) error {
	b := append([]byte(nil), p...) // sending does not wait for the bytes to go
	return s.stream.SendMsg(&b)
}
