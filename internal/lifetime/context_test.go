package lifetime_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/lifetime"
)

var errOver = errors.New("over")

type key struct{}

// family returns a Family and what ends its context.
func family(t *testing.T) (*lifetime.Family, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), key{}, "theirs"))
	t.Cleanup(func() { cancel(nil) })
	return lifetime.NewFamily(ctx), cancel
}

// A listener counts how often it is told.
type listener struct{ told atomic.Int32 }

func (l *listener) ContextEnded(*lifetime.Context) { l.told.Add(1) }

func TestContextIsOpenUntilItIsEnded(t *testing.T) {
	f, _ := family(t)
	c := f.New(nil)
	require.NoError(t, c.Err())
	require.NoError(t, context.Cause(c))
	select {
	case <-c.Done():
		t.Fatal("it has ended")
	default:
	}
	_, ok := c.Deadline()
	assert.False(t, ok)
}

func TestEndIsSeenWhateverWasAskedBefore(t *testing.T) {
	for name, before := range map[string]func(*lifetime.Context){
		"nothing":   func(*lifetime.Context) {},
		"the cause": func(c *lifetime.Context) { context.Cause(c) },
		"a channel": func(c *lifetime.Context) { c.Done() },
		"a value":   func(c *lifetime.Context) { c.Value(key{}) },
		"a context": func(c *lifetime.Context) {
			ctx, cancel := context.WithCancel(context.WithValue(c, key{}, 1))
			t.Cleanup(cancel)
			t.Cleanup(func() { assert.ErrorIs(t, context.Cause(ctx), errOver) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, cancel := family(t)
			c := f.New(nil)
			before(c)
			c.End(errOver)
			c.End(errors.New("once more"))
			cancel(errors.New("the family's end"))
			assert.Equal(t, context.Canceled, c.Err())
			assert.Equal(t, errOver, context.Cause(c))
			<-c.Done()
			child, stop := context.WithCancel(c)
			defer stop()
			assert.Equal(t, errOver, context.Cause(child), "of one that was made afterwards")
		})
	}
}

func TestEndOfTheFamilyIsEverybodysEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, cancel := family(t)
		quiet, watched, told := f.New(nil), f.New(nil), f.New(nil)
		done := watched.Done()
		var l listener
		told.Tell(&l)
		cancel(errOver)
		for _, c := range []*lifetime.Context{quiet, watched, told, f.New(nil)} {
			assert.Equal(t, context.Canceled, c.Err())
			assert.Equal(t, errOver, context.Cause(c))
			c.End(errors.New("too late"))
			assert.Equal(t, errOver, context.Cause(c))
		}
		<-done
		synctest.Wait()
		assert.EqualValues(t, 1, l.told.Load())
	})
}

func TestListenersAreToldOnceUnlessTheyHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, cancel := family(t)
		one, two, three := f.New(nil), f.New(nil), f.New(nil)
		var stays, also, gone, other, late listener
		one.Tell(&stays)
		one.Tell(&gone)
		one.Tell(&also)
		one.TellNot(&gone)
		two.Tell(&gone)
		three.Tell(&other)
		two.TellNot(&gone)
		two.TellNot(&gone)
		one.End(errOver)
		one.Tell(&late)
		synctest.Wait()
		assert.EqualValues(t, 0, other.told.Load())
		cancel(nil)
		synctest.Wait()
		assert.EqualValues(t, 1, stays.told.Load())
		assert.EqualValues(t, 1, also.told.Load())
		assert.EqualValues(t, 1, other.told.Load())
		assert.EqualValues(t, 0, gone.told.Load())
		assert.EqualValues(t, 0, late.told.Load(), "Err had said so")
	})
}

func TestValuesAreItsOwnAndTheFamilys(t *testing.T) {
	f, _ := family(t)
	assert.Equal(t, "mine", f.New("mine").Value(lifetime.Key{}))
	assert.Nil(t, f.New(nil).Value(lifetime.Key{}))
	assert.Equal(t, "theirs", f.New("mine").Value(key{}))
	assert.Nil(t, f.New("mine").Value("unknown"))
}

// Contexts that are derived from one, as middleware does, are told without a goroutine
// of their own: package context finds one of its own behind it.
func TestDerivedContextsNeedNoGoroutine(t *testing.T) {
	f, _ := family(t)
	before := runtime.NumGoroutine()
	for range 10 {
		c := f.New(nil)
		_, cancel := context.WithCancel(context.WithValue(c, key{}, 1))
		defer cancel()
		defer context.AfterFunc(c, func() {})()
	}
	assert.Less(t, runtime.NumGoroutine(), before+10)
}

func TestContextIsOneAllocation(t *testing.T) {
	f, _ := family(t)
	n := testing.AllocsPerRun(100, func() {
		c := f.New(nil)
		if c.Err() != nil {
			t.Error("it has ended")
		}
		c.End(errOver)
	})
	assert.LessOrEqual(t, n, 1.0)
}
