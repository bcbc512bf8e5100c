package lever

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	batchSize = 500
	mostWait  = 100_000
	everyTime = 200 * time.Millisecond
	slowest   = 2 * time.Second // between two attempts
)

// ErrClosed says that the client was closed before: the event is dropped, and counted so.
var ErrClosed = errors.New("the client is closed")

type counts struct{ given, settled, dropped, refused, told int }

// An outbox is a queue and the goroutine that empties it: bounded, in batches, again where that can help. When mostWait
// wait, the oldest give way. Everything that is lost is counted and logged.
type outbox struct {
	send func([]event) []verdict

	mutex   sync.Mutex
	now     counts
	waiting []event
	changed chan struct{} // closed, and a new one made, when something happened that somebody may wait for
	hurry   bool
	full    bool // and said so
	closed  bool
}

func newOutbox(send func([]event) []verdict) *outbox {
	made := &outbox{send: send, changed: make(chan struct{})}
	go made.run()
	return made
}

func (o *outbox) put(one event) error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.now.given++
	if o.closed {
		o.drop(1, "after close")
		return ErrClosed
	}
	o.waiting = append(o.waiting, one)
	o.shorten()
	if len(o.waiting) == 1 || len(o.waiting) == batchSize {
		o.tell()
	}
	return nil
}

func (o *outbox) flush(ctx context.Context) error {
	o.mutex.Lock()
	goal := o.now.given
	o.hurry = o.now.settled < goal
	o.tell()
	o.mutex.Unlock()
	done := o.wait(ctx, func() bool { return o.now.settled >= goal })
	o.mutex.Lock()
	defer o.mutex.Unlock()
	lost := o.now.dropped + o.now.refused - o.now.told
	o.now.told += lost
	switch {
	case !done:
		return fmt.Errorf("%d events wait: %w", o.now.given-o.now.settled, ctx.Err())
	case lost > 0:
		return fmt.Errorf("%d events were lost", lost)
	}
	return nil
}

func (o *outbox) close(ctx context.Context) error {
	err := o.flush(ctx)
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.closed = true
	if left := o.now.given - o.now.settled; left > 0 {
		o.drop(left, "left when it was closed")
	}
	o.waiting = nil
	o.tell()
	return err
}

func (o *outbox) counts() counts {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.now
}

func (o *outbox) run() {
	pause := time.Duration(0)
	for {
		batch := o.next(pause)
		if batch == nil {
			return
		}
		again := o.settle(batch, o.send(batch))
		if again {
			pause = min(max(2*pause, 50*time.Millisecond), slowest)
		} else {
			pause = 0
		}
	}
}

// next is the batch to send, after a pause where the last one failed: a server that is away is not helped by hurry.
func (o *outbox) next(pause time.Duration) []event {
	limit, due := pause, func() bool { return o.closed }
	if pause == 0 {
		o.wait(context.Background(), func() bool { return o.closed || len(o.waiting) > 0 })
		limit, due = everyTime, func() bool { return o.closed || o.hurry || len(o.waiting) >= batchSize }
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	o.wait(ctx, due)
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.closed {
		return nil
	}
	size := min(batchSize, len(o.waiting))
	batch := make([]event, size)
	copy(batch, o.waiting)
	clear(o.waiting[:size]) // nothing is kept alive by the rest
	o.waiting = o.waiting[size:]
	return batch
}

// settle counts, and puts back what may be sent again; whether there is any.
func (o *outbox) settle(batch []event, told []verdict) bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.closed { // counted as left
		return false
	}
	var again []event
	var refused []error
	for i, one := range batch {
		switch {
		case told[i] == errAgain:
			again = append(again, one)
		case told[i] != nil:
			refused = append(refused, told[i])
		}
	}
	if len(refused) > 0 {
		o.now.refused += len(refused)
		slog.Warn("lever: events were refused for good", "count", len(refused), "first", refused[0])
	}
	o.now.settled += len(batch) - len(again)
	if len(again) > 0 {
		o.waiting = append(again, o.waiting...)
	}
	o.shorten()
	if len(o.waiting) == 0 {
		o.hurry, o.full = false, false
	}
	o.tell()
	return len(again) > 0
}

func (o *outbox) shorten() {
	many := len(o.waiting) - mostWait
	if many <= 0 {
		return
	}
	o.waiting = o.waiting[many:]
	o.now.settled += many
	o.now.dropped += many
	if !o.full {
		o.full = true
		slog.Warn("lever: as many events wait as may, the oldest are dropped for now", "waiting", mostWait)
	}
}

func (o *outbox) drop(count int, why string) {
	o.now.dropped += count
	o.now.settled += count
	slog.Warn("lever: events dropped", "count", count, "why", why)
}

func (o *outbox) tell() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// wait returns when until holds, or when ctx ends; which of them.
func (o *outbox) wait(ctx context.Context, until func() bool) bool {
	for {
		o.mutex.Lock()
		done, changed := until(), o.changed
		o.mutex.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
