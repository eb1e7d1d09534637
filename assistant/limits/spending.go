package limits

import "time"

// spendingParts is into how many parts, at most, the window of a budget is divided: what was used in one of
// them becomes free at once, a window after the last of it. So a day's budget comes back hour by hour.
const spendingParts = 24

// spending is what was used of a budget within its window, which ends now.
type spending struct {
	window time.Duration
	parts  []spent // oldest first
	total  int
}

// spent are tokens that were used from first to last.
type spent struct {
	first, last time.Time
	tokens      int
}

// within makes the window that long. What a shorter one has forgotten stays so.
func (s *spending) within(window time.Duration, now time.Time) {
	s.window = window
	s.forget(now)
}

// forget lets go what is before the window.
func (s *spending) forget(now time.Time) {
	for len(s.parts) > 0 && now.Sub(s.parts[0].last) >= s.window {
		s.total -= s.parts[0].tokens
		s.parts = s.parts[1:]
	}
}

func (s *spending) add(tokens int, now time.Time) {
	if tokens <= 0 {
		return
	}
	s.total += tokens
	if n := len(s.parts); n > 0 && now.Sub(s.parts[n-1].first) < s.window/spendingParts {
		s.parts[n-1].last = now
		s.parts[n-1].tokens += tokens
		return
	}
	s.parts = append(s.parts, spent{now, now, tokens})
}

// until returns how long it takes until so many tokens are free again: a window, where there are not as many.
func (s *spending) until(tokens int, now time.Time) time.Duration {
	for _, p := range s.parts {
		if tokens -= p.tokens; tokens <= 0 {
			return s.window - now.Sub(p.last)
		}
	}
	return s.window
}
