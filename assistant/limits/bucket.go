package limits

import (
	"math"
	"time"
)

// bucket is what is left of a rate. It holds as much as may be taken at once, and fills with time. The zero bucket is
// full.
//
// It is no [golang.org/x/time/rate.Limiter] since that cannot be stored.
type bucket struct {
	Rate Rate      `json:"rate"` // by which it fills
	Left float64   `json:"left"` // at the time At
	At   time.Time `json:"at"`
}

// enough is 1, less what rounding may take from it.
const enough = 1 - 1e-9

// fill adds what has come since, by the rate until now, and goes on with r.
func (b *bucket) fill(r Rate, now time.Time) {
	switch elapsed := now.Sub(b.At); {
	case b.Rate.Count == 0:
		b.Left = float64(r.burst())
	case elapsed > 0:
		b.Left = min(b.Left+float64(elapsed)*float64(b.Rate.Count)/float64(b.Rate.Per), float64(b.Rate.burst()))
	}
	b.Rate, b.At, b.Left = r, now, min(b.Left, float64(r.burst()))
}

// take takes one, or returns how long to wait for it. A rate that has changed goes on from what was left under the one
// before.
func (b *bucket) take(r Rate, now time.Time) (wait time.Duration) {
	if r.Count == 0 {
		return 0
	}
	b.fill(r, now)
	if b.Left < enough {
		return time.Duration(math.Ceil((1 - b.Left) * float64(r.Per) / float64(r.Count)))
	}
	b.Left = max(b.Left-1, 0)
	return 0
}

// add gives so many back, or takes them where n is negative, as far as they are there.
func (b *bucket) add(n int, now time.Time) {
	if b.Rate.Count == 0 {
		return
	}
	b.fill(b.Rate, now)
	b.Left = min(max(b.Left+float64(n), 0), float64(b.Rate.burst()))
}

// isFull reports whether the bucket is as good as new.
func (b bucket) isFull(now time.Time) bool {
	b.fill(b.Rate, now)
	return b.Left >= float64(b.Rate.burst())-(1-enough)
}

// taken returns how many are not back yet.
func (b bucket) taken(now time.Time) int {
	b.fill(b.Rate, now)
	return int(math.Ceil(float64(b.Rate.burst()) - b.Left - (1 - enough)))
}

// isSound reports whether a bucket that was stored makes sense.
func (b bucket) isSound() bool {
	r := b.Rate
	return b == bucket{} || r.Count > 0 && r.Per > 0 && r.Burst >= 0 && b.Left >= 0
}
