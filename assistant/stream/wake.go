package stream

// Wake wakes whoever waits for c, which holds one. It never blocks.
func Wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
