//go:build !race

// What takes a minute under the race detector, which also changes what is allocated.

package media

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
	"time"
)

// bad are files that seem to be images and are refused.
func bad(tb testing.TB) map[string][]byte {
	tb.Helper()
	jpeg := photo(tb, picture(64, 64), 1)
	return map[string][]byte{
		"PNG of 40 megapixels":             pngOf(8000, 5000, 8, 6, zeros(5000*(8000*4+1))),
		"PNG of 1 to 2^31 pixels":          pngOf(1, 1<<31-1, 8, 6, zeros(100)),
		"PNG of 2^31 to 2^31 pixels":       pngOf(1<<31-1, 1<<31-1, 1, 0, zeros(100)),
		"PNG of 16 bits and 13 megapixels": pngOf(5000, 2600, 16, 6, zeros(100)),
		"PNG without pixels":               pngOf(0, 10, 8, 6, zeros(100)),
		"PNG whose pixels are missing":     pngOf(4000, 4000, 8, 6, zeros(10)),
		"JPEG that is cut":                 jpeg[:len(jpeg)/2],
		"JPEG's head before a ZIP":         append(append([]byte(nil), jpeg[:20]...), "PK\x03\x04\x14\x00\x08\x08"...),
		"WebP that is cut":                 []byte(webpOf)[:28],
		"WebP that is animated":            []byte("RIFF\x24\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00ANIM\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		"GIF of a canvas of 65535 side":    []byte("GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02\x44\x01\x00;"),
		"GIF without a frame":              []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff;"),
	}
}

// TestBadImages holds that they are refused, and what that takes of memory: far less than their pixels.
func TestBadImages(t *testing.T) {
	for what, data := range bad(t) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Config{}.Take(t.Context(), "", data)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
		took := (after.TotalAlloc - before.TotalAlloc) >> 10
		limit := uint64(1024)
		if what == "PNG whose pixels are missing" { // 16 megapixels are allowed
			limit = 70 << 10
		}
		if t.Logf("%s of %d bytes: %d KiB", what, len(data), took); took > limit {
			t.Errorf("%s took %d KiB", what, took)
		}
	}
}

// TestBombs holds that a small file of many large frames costs one of them, and is kept as one.
func TestBombs(t *testing.T) {
	data := bombGIF(t, 1000, 100)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	taken, err := Config{}.Take(t.Context(), "", data)
	runtime.ReadMemStats(&after)
	took := (after.TotalAlloc - before.TotalAlloc) >> 20
	t.Logf("a GIF of %d bytes with 100 frames of 1000×1000 took %d MiB", len(data), took)
	if err != nil || took > 10 {
		t.Errorf("took %d MiB, and is kept as %s: %v", took, taken.MediaType, err)
	}
}

// TestLargest holds what the largest images that are allowed cost in memory.
func TestLargest(t *testing.T) {
	for what, data := range map[string][]byte{
		"PNG of 8 bits":  pngOf(5000, 5000, 8, 6, zeros(5000*(5000*4+1))),
		"PNG of 16 bits": pngOf(5000, 2500, 16, 6, zeros(2500*(5000*8+1))),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := Config{}.Take(t.Context(), "", data)
		runtime.ReadMemStats(&after)
		took := (after.TotalAlloc - before.TotalAlloc) >> 20
		t.Logf("%s in %d bytes: %d MiB, %v", what, len(data), took, time.Since(start).Round(time.Millisecond))
		if err != nil || took > 160 {
			t.Errorf("%s: %d MiB: %v", what, took, err)
		}
	}
}

// FuzzTake holds that no bytes do anything but be kept or refused, and that an image that is kept can be taken again.
func FuzzTake(f *testing.F) {
	for what, data := range bad(f) {
		if what != "PNG of 40 megapixels" { // large
			f.Add("a.png", data)
		}
	}
	f.Add("a.gif", bombGIF(f, 100, 20))
	f.Add("a.jpg", photo(f, picture(16, 16), 6))
	f.Add("a.jpg", append(photo(f, picture(16, 16), 1), "PK\x03\x04\x14\x00\x00\x00\x08\x00"...))
	f.Add("a.png", []byte(svg))
	f.Add("a.webp", []byte(webpOf))
	f.Add("a.pdf", []byte("%PDF-1.7\n<</Type /Page>>"))
	f.Add("a.csv", []byte("a,b\n1,2\n"))
	c := Config{MaxPixels: 1 << 16, MaxSide: 64}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		taken, err := c.Take(t.Context(), name, data)
		if err != nil {
			if !errors.Is(err, ErrType) && !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if !isImage(taken.MediaType) {
			if !bytes.Equal(taken.Data, data) {
				t.Fatal("a file that is no image was changed")
			}
			return
		}
		if taken.Width > 64 || taken.Height > 64 || taken.Width < 1 || taken.Height < 1 {
			t.Fatalf("an image of %d×%d pixels", taken.Width, taken.Height)
		}
		again, err := c.Take(t.Context(), "", taken.Data)
		if err != nil || again.Width != taken.Width || again.Height != taken.Height {
			t.Fatalf("taken again: %d×%d, was %d×%d: %v", again.Width, again.Height, taken.Width, taken.Height, err)
		}
	})
}
