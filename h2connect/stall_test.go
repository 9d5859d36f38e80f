package h2connect

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

func TestH2_24PeerThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					ended <- err
					return
				}
			}
		}))
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		p.fr.WriteWindowUpdate(0, 1<<30)
		begin := time.Now()
		p.headers(1, true, get("/")...)
		err := <-ended
		assert.Equal(t, 30*time.Second, time.Since(begin))
		var timeout interface{ Timeout() bool }
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout())
		<-p.done
		p.hangUp()
	})
}

func TestH2_25WindowClosedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hello" {
				ordinary().ServeHTTP(w, r)
				return
			}
			_, err := w.Write(make([]byte, 64<<10))
			ended <- err
		}))
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
		begin := time.Now()
		p.headers(1, true, get("/")...)
		p.wantStatus(1, "200", false, "")
		p.wantData(1, string(make([]byte, 1000)), false, "")
		err := <-ended
		assert.Equal(t, 30*time.Second, time.Since(begin))
		require.ErrorIs(t, err, errWriteStall)
		p.wantReset(1, http2.ErrCodeCancel, "the stream is given up")
		p.served(3)
		p.hangUp()
	})
}

// A peer that has taken everything begins anew: little data that waits for a
// moment, now and half a minute later, is no stall.
func TestH2_25ShortWaitsFarApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrote := make(chan error, 2)
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range 2 {
				w.Write(make([]byte, 20))
				wrote <- http.NewResponseController(w).Flush()
				time.Sleep(29 * time.Second)
			}
		}))
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		p.headers(1, true, get("/")...)
		p.wantStatus(1, "200", false, "")
		p.wantData(1, string(make([]byte, 10)), false, "what the window allows")
		time.Sleep(time.Second)
		p.fr.WriteWindowUpdate(1, 10)
		p.wantData(1, string(make([]byte, 10)), false, "the rest, a second later")
		time.Sleep(30 * time.Second)
		p.fr.WriteWindowUpdate(1, 20)
		p.wantData(1, string(make([]byte, 20)), false, "2 s after it had to wait")
		p.wantData(1, "", true, "the end")
		assert.NoError(t, <-wrote)
		assert.NoError(t, <-wrote)
		p.hangUp()
	})
}

func TestH2_26DrippedWindowIsNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, ordinary())
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		p.headers(1, true, get("/big")...)
		p.wantStatus(1, "200", false, "")
		begin := time.Now()
		go func() {
			for range 40 {
				time.Sleep(time.Second)
				p.fr.WriteWindowUpdate(1, 1)
			}
		}()
		for {
			f := p.next("until it is given up")
			if rst, ok := f.(*http2.RSTStreamFrame); ok {
				assert.Equal(t, http2.ErrCodeCancel, rst.ErrCode)
				break
			}
		}
		assert.LessOrEqual(t, time.Since(begin), 31*time.Second)
		time.Sleep(time.Minute) // let the drip end
		p.hangUp()
	})
}
