//go:build unix

package foreign

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// modified is when the content of /bytes was last changed.
var modified = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// routeRequests adds the routes for ordinary requests.
func (s *site) routeRequests() {
	s.mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
	})
	s.mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", modified, strings.NewReader(strings.Repeat("x", n)))
	})
	s.mux.HandleFunc("/digest", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		if _, err := io.Copy(h, r.Body); err != nil {
			return // the client has gone
		}
		io.WriteString(w, hex.EncodeToString(h.Sum(nil)))
	})
	s.mux.HandleFunc("GET /trailer", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Checksum")
		io.WriteString(w, "content")
		// Without content-length: at its end curl 7.88 would read no further.
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		w.Header().Set("Checksum", "abc")
	})
	s.mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		w.WriteHeader(code)
	})
	s.mux.HandleFunc("GET /hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "hinted")
	})
	s.mux.Handle("GET /moved", http.RedirectHandler("/hello", http.StatusFound))
	s.mux.HandleFunc("GET /cookie", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "set", Value: "1"})
		io.WriteString(w, r.Header.Get("Cookie"))
	})
}
