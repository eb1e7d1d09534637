package limits

import "time"

// spendingParts is into how many parts, at most, the window of a budget is divided: what was used in one of
// them becomes free at once, a window after the last of it. So a day's budget comes back hour by hour.
const spendingParts = 24

// spending is what was used of a budget within its window, which ends now.
type spending struct {
	Window time.Duration `json:"window,omitempty"`
	Parts  []spent       `json:"parts,omitempty"` // oldest first
}

// spent are tokens that were used from First to Last.
type spent struct {
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Tokens int       `json:"tokens"`
}

// total is what was used.
func (s *spending) total() (n int) {
	for _, p := range s.Parts {
		n += p.Tokens
	}
	return n
}

// within makes the window that long. What a shorter one has forgotten stays so.
func (s *spending) within(window time.Duration, now time.Time) {
	s.Window = window
	s.forget(now)
}

// forget lets go what is before the window.
func (s *spending) forget(now time.Time) {
	for len(s.Parts) > 0 && now.Sub(s.Parts[0].Last) >= s.Window {
		s.Parts = s.Parts[1:]
	}
}

func (s *spending) add(tokens int, now time.Time) {
	if tokens <= 0 {
		return
	}
	if n := len(s.Parts); n > 0 && now.Sub(s.Parts[n-1].First) < s.Window/spendingParts {
		s.Parts[n-1].Last = now
		s.Parts[n-1].Tokens += tokens
		return
	}
	s.Parts = append(s.Parts, spent{now, now, tokens})
}

// until returns how long it takes until so many tokens are free again: a window, where there are not as many.
func (s *spending) until(tokens int, now time.Time) time.Duration {
	for _, p := range s.Parts {
		if tokens -= p.Tokens; tokens <= 0 {
			return s.Window - now.Sub(p.Last)
		}
	}
	return s.Window
}

// isSound reports whether a spending that was stored makes sense.
func (s *spending) isSound() bool {
	for _, p := range s.Parts {
		if p.Tokens <= 0 {
			return false
		}
	}
	return s.Window >= 0 && len(s.Parts) <= 2*spendingParts && (s.Window > 0 || len(s.Parts) == 0)
}
