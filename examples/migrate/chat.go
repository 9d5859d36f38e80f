package main

import (
	_ "embed"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

//go:embed page.html
var page []byte

func servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(page)
}

const (
	pongWait   = time.Minute
	pingPeriod = 50 * time.Second
	writeWait  = 10 * time.Second
	longest    = 4 << 10 // bytes of a message
	backlog    = 64      // messages that wait for a slow guest
)

var upgrader = websocket.Upgrader{EnableCompression: true}

// A room passes each guest's messages on to all.
type room struct {
	mu     sync.Mutex
	guests map[*guest]bool
}

// A guest is one socket.
type guest struct {
	conn *websocket.Conn
	send chan []byte
}

func newRoom() *room { return &room{guests: make(map[*guest]bool)} }

// serve has a guest until the socket ends.
func (r *room) serve(w http.ResponseWriter, req *http.Request) {
	conn, err := upgrader.Upgrade(w, req, nil)
	if err != nil {
		return // Upgrade has answered
	}
	g := &guest{conn: conn, send: make(chan []byte, backlog)}
	r.enter(g)
	go g.write() // ends when the guest has left
	defer r.leave(g)
	conn.SetReadLimit(longest)
	conn.SetReadDeadline(time.Now().Add(pongWait))
	conn.SetPongHandler(func(string) error { return conn.SetReadDeadline(time.Now().Add(pongWait)) })
	for {
		_, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		r.say(message)
	}
}

func (r *room) enter(g *guest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guests[g] = true
}

func (r *room) leave(g *guest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(g)
}

// drop ends a guest, once. r.mu is held.
func (r *room) drop(g *guest) {
	if r.guests[g] {
		delete(r.guests, g)
		close(g.send)
	}
}

// say sends a message to everybody. Who has not read for too long has to go.
func (r *room) say(message []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for g := range r.guests {
		select {
		case g.send <- message:
		default:
			r.drop(g)
		}
	}
}

// write sends what the room says, and Pings in between.
func (g *guest) write() {
	defer g.conn.Close()
	ticker := time.NewTicker(pingPeriod)
	defer ticker.Stop()
	for {
		select {
		case message, ok := <-g.send:
			g.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if !ok {
				g.conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
				return
			}
			if g.conn.WriteMessage(websocket.TextMessage, message) != nil {
				return
			}
		case <-ticker.C:
			g.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if g.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}
