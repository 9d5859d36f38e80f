package carry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/negotiate"
)

// A Server is the server's half. Its endpoints:
//
//	/socket  a WebSocket
//	/events  an event stream, GET; with heartbeat=D a comment each time D passes without an event
//	/poll    a poll, GET, after=N, hold=D the longest wait; after=0 without hold opens the channel
//	/send    messages, POST, separated by newlines
//	/file    size=N bytes of content
//	/bulk    content without end
//
// The first four take channel=C, the channel's name, and room=R: messages go to all
// channels of the room; without it they go back to the channel they came from.
type Server struct {
	mu       sync.Mutex
	rooms    map[string]*room
	channels map[string]*channel
}

// A room is a set of channels.
type room struct {
	mu      sync.Mutex
	sockets map[*websocket.Conn]struct{}
	boxes   map[*mailbox]struct{}
}

// A channel is one that is not a socket.
type channel struct {
	box  *mailbox
	room *room // nil: messages go back
}

// NewServer returns a Server without channels.
func NewServer() *Server {
	return &Server{rooms: make(map[string]*room), channels: make(map[string]*channel)}
}

// Handler returns the endpoints.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/socket", s.socket)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /poll", s.poll)
	mux.HandleFunc("POST /send", s.send)
	mux.HandleFunc("GET /file", file)
	mux.HandleFunc("GET /bulk", bulk)
	return mux
}

// room returns the room of a request, nil without one.
func (s *Server) room(r *http.Request) *room {
	name := r.URL.Query().Get("room")
	if name == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[name] == nil {
		s.rooms[name] = &room{sockets: make(map[*websocket.Conn]struct{}), boxes: make(map[*mailbox]struct{})}
	}
	return s.rooms[name]
}

func (s *Server) socket(w http.ResponseWriter, r *http.Request) {
	h := &socketHandler{room: s.room(r)}
	c, err := h.accept(w, r)
	if err != nil {
		return // and answered
	}
	_ = c.Handle(h)
}

// accept accepts the socket and enters it in its room, before any message that is
// published once the client knows that it is accepted.
func (h *socketHandler) accept(w http.ResponseWriter, r *http.Request) (*websocket.Conn, error) {
	if h.room == nil {
		return negotiate.Accept(w, r, nil)
	}
	h.room.mu.Lock()
	defer h.room.mu.Unlock()
	c, err := negotiate.Accept(w, r, nil)
	if err == nil {
		h.room.sockets[c] = struct{}{}
	}
	return c, err
}

// A socketHandler serves one socket.
type socketHandler struct{ room *room }

func (h *socketHandler) OnMessage(c *websocket.Conn, t websocket.MessageType, p []byte) {
	if h.room != nil {
		h.room.publish(p)
		return
	}
	_ = c.Write(context.Background(), t, p) // bounded by Limits.WriteStall; its error is OnClose's too
}

func (h *socketHandler) OnClose(c *websocket.Conn, _ error) {
	if h.room != nil {
		h.room.mu.Lock()
		defer h.room.mu.Unlock()
		delete(h.room.sockets, c)
	}
}

// publish sends a message to all channels of the room. Messages go to all of them
// in the same order.
func (r *room) publish(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sockets) > 0 {
		m, err := websocket.NewPreparedMessage(websocket.MessageText, p)
		if err != nil {
			return
		}
		websocket.Broadcast(context.Background(), m, func(yield func(*websocket.Conn) bool) {
			for c := range r.sockets {
				if !yield(c) {
					return
				}
			}
		}, websocket.SlowEnds)
	}
	if len(r.boxes) > 0 {
		m := bytes.Clone(p)
		for b := range r.boxes {
			b.deliver(m)
		}
	}
}

// channel opens a request's channel, if it is not open, or finds it.
func (s *Server) channel(r *http.Request, open bool) (c *channel, name string) {
	name = r.URL.Query().Get("channel")
	s.mu.Lock()
	c = s.channels[name]
	s.mu.Unlock()
	if c != nil || !open {
		return c, name
	}
	c = &channel{box: newMailbox(), room: s.room(r)}
	if c.room != nil {
		c.room.mu.Lock()
		c.room.boxes[c.box] = struct{}{}
		c.room.mu.Unlock()
	}
	s.mu.Lock()
	s.channels[name] = c
	s.mu.Unlock()
	return c, name
}

func (s *Server) forget(name string, c *channel) {
	if c.room != nil {
		c.room.mu.Lock()
		delete(c.room.boxes, c.box)
		c.room.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.channels, name)
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	c, name := s.channel(r, true)
	defer s.forget(name, c)
	var beat <-chan time.Time
	if d, err := time.ParseDuration(r.URL.Query().Get("heartbeat")); err == nil && d > 0 {
		t := time.NewTicker(d)
		defer t.Stop()
		beat = t.C
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	if control.Flush() != nil {
		return
	}
	var text bytes.Buffer
	for last := 0; ; {
		messages, end, more, ok := c.box.after(last)
		if !ok {
			return
		}
		if len(messages) == 0 {
			select {
			case <-more:
			case <-beat:
				if !write(w, control, []byte(comment)) {
					return
				}
			case <-r.Context().Done():
				return
			}
			continue
		}
		text.Reset()
		for _, m := range messages {
			text.WriteString(dataField)
			text.Write(m)
			text.WriteString("\n\n")
		}
		if !write(w, control, text.Bytes()) {
			return
		}
		last = end
	}
}

// What an event stream is made of (WHATWG HTML §9.2.5).
const (
	dataField = "data: "
	comment   = ":\n\n"
)

func write(w io.Writer, control *http.ResponseController, p []byte) bool {
	_, err := w.Write(p)
	return err == nil && control.Flush() == nil
}

func (s *Server) poll(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, err := strconv.Atoi(q.Get("after"))
	if err != nil {
		http.Error(w, "after= is not a number", http.StatusBadRequest)
		return
	}
	hold, _ := time.ParseDuration(q.Get("hold")) // none: 0
	c, name := s.channel(r, after == 0 && hold == 0)
	if c == nil {
		http.Error(w, "no such channel", http.StatusGone)
		return
	}
	if q.Has("end") {
		s.forget(name, c)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	timeout := time.NewTimer(hold)
	defer timeout.Stop()
	for {
		messages, end, more, ok := c.box.after(after)
		if !ok {
			http.Error(w, "no such message", http.StatusGone)
			return
		}
		if len(messages) == 0 {
			select {
			case <-more:
				continue
			case <-timeout.C:
			case <-r.Context().Done():
				return
			}
		}
		var text bytes.Buffer
		fmt.Fprintf(&text, "%d\n", end)
		for _, m := range messages {
			text.Write(m)
			text.WriteByte('\n')
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(text.Bytes())
		return
	}
}

// maxSend bounds the content of a POST.
const maxSend = 1 << 20

func (s *Server) send(w http.ResponseWriter, r *http.Request) {
	c, _ := s.channel(r, false)
	if c == nil {
		http.Error(w, "no such channel", http.StatusGone)
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSend))
	if err != nil {
		http.Error(w, "content not as it should be", http.StatusBadRequest)
		return
	}
	for m := range bytes.SplitSeq(text, []byte{'\n'}) {
		if c.room != nil {
			c.room.publish(m)
		} else {
			c.box.deliver(bytes.Clone(m))
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// filler is the content of files.
var filler = bytes.Repeat([]byte("0123456789abcdef"), 2<<10)

func file(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if err != nil || size < 0 {
		http.Error(w, "size= is not a size", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	for size > 0 {
		n, err := w.Write(filler[:min(size, int64(len(filler)))])
		if err != nil {
			return
		}
		size -= int64(n)
	}
}

func bulk(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	for {
		if _, err := w.Write(filler); err != nil {
			return // the client has had enough
		}
	}
}
