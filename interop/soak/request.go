package soak

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// A requestPlan is an ordinary request: for a page of some size, or to a mirror
// that sends the request's content back while it comes.
type requestPlan struct {
	mirror bool
	size   int
	seed   uint64
	start  time.Duration
}

// content returns a page of size bytes.
func content(seed uint64, size int) io.Reader {
	var key [32]byte
	for i := range key {
		key[i] = byte(seed >> (8 * (i % 8)))
	}
	return io.LimitReader(rand.NewChaCha8(key), int64(size))
}

// do sends the request and checks the answer.
func (p requestPlan) do(ctx context.Context, rt http.RoundTripper, base string) error {
	wait(ctx, p.start)
	method, url, body := http.MethodGet, fmt.Sprintf("%s/page?seed=%d&size=%d", base, p.seed, p.size), io.Reader(nil)
	if p.mirror {
		// Of an unknown length, and not seekable.
		method, url, body = http.MethodPost, base+"/mirror", io.MultiReader(content(p.seed, p.size))
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, n, err := sum(resp.Body)
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, p.size, err)
	}
	want, _, _ := sum(content(p.seed, p.size))
	if resp.StatusCode != http.StatusOK || n != int64(p.size) || got != want {
		return mismatch(fmt.Sprintf("status %d, %d bytes of %d, other content: %t", resp.StatusCode, n, p.size, got != want))
	}
	return nil
}

// A mismatch is an answer that is wrong, whatever the network does.
type mismatch string

func (m mismatch) Error() string { return string(m) }

func sum(r io.Reader) (uint64, int64, error) {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	n, err := io.Copy(&h, r)
	return h.Sum64(), n, err
}

// page serves content.
func page(w http.ResponseWriter, r *http.Request) {
	seed, err1 := strconv.ParseUint(r.FormValue("seed"), 10, 64)
	size, err2 := strconv.Atoi(r.FormValue("size"))
	if err1 != nil || err2 != nil {
		http.Error(w, "which page?", http.StatusBadRequest)
		return
	}
	if seed%2 == 0 {
		w.Header().Set("Content-Length", strconv.Itoa(size))
	}
	io.Copy(w, content(seed, size))
}

// mirror sends back what it gets, as it gets it.
func mirror(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w).Flush
	buf := make([]byte, 4096)
	for {
		n, err := r.Body.Read(buf)
		if _, failed := w.Write(buf[:n]); failed != nil {
			return
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		flush()
	}
}
