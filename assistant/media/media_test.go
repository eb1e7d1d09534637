package media

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
)

// canary must be in nothing that is kept.
const canary = "GPS 52.5163N 13.3777E"

// picture is an image whose corners differ: red, green, blue and, at the lower right, white.
func picture(width, height int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.NRGBA{A: 255}
			switch {
			case x < width/2 && y < height/2:
				c.R = 255
			case y < height/2:
				c.G = 255
			case x < width/2:
				c.B = 255
			default:
				c.R, c.G, c.B = 255, 255, 255
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

func asPNG(tb testing.TB, img image.Image) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// photo is a JPEG as a camera makes it: with EXIF data that say how to turn it and where it was taken.
func photo(tb testing.TB, img image.Image, orientation uint16) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		tb.Fatal(err)
	}
	tiff := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01")
	tiff = append(binary.BigEndian.AppendUint16(tiff, orientation), 0, 0, 0, 0, 0, 0)
	segment := append([]byte("Exif\x00\x00"), append(tiff, canary...)...)
	head := binary.BigEndian.AppendUint16([]byte("\xff\xd8\xff\xe1"), uint16(len(segment)+2))
	return append(append(append(head, segment...), b.Bytes()[2:]...), []byte(canary)...)
}

// pngOf is a PNG of that size whose pixels are what the compressed data says.
func pngOf(width, height uint32, depth, kind byte, data []byte) []byte {
	b := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(name string, data []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		start := len(b)
		b = append(append(b, name...), data...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	chunk("IHDR", append(head, depth, kind, 0, 0, 0))
	chunk("IDAT", data)
	chunk("IEND", nil)
	return b
}

func zeros(n int) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	block := make([]byte, 1<<16)
	for ; n > 0; n -= len(block) {
		_, _ = w.Write(block[:min(n, len(block))])
	}
	_ = w.Close()
	return b.Bytes()
}

// bombGIF is a small file of many frames, each as large as the canvas.
func bombGIF(tb testing.TB, side, frames int) []byte {
	tb.Helper()
	g := &gif.GIF{}
	for range frames {
		g.Image = append(g.Image, image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.Black, color.White}))
		g.Delay = append(g.Delay, 0)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

const svg = `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"></svg>`

// webpOf is a lossless WebP of one pixel.
const webpOf = "RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"

func TestTypes(t *testing.T) {
	webp := []byte(webpOf)
	for _, test := range []struct{ what, name, data, want string }{
		{"PNG", "", string(asPNG(t, picture(4, 4))), JPEG},
		{"PNG that is no JPEG by name", "a.txt", string(asPNG(t, picture(4, 4))), JPEG},
		{"JPEG", "a.png", string(photo(t, picture(4, 4), 1)), JPEG},
		{"GIF", "", string(bombGIF(t, 4, 3)), JPEG},
		{"WebP", "", string(webp), PNG},
		{"PDF", "a.txt", "%PDF-1.7\n1 0 obj <</Type /Page>> endobj <</Type/Page\n>> <</Type /Pages>>", PDF},
		{"text", "", "Hello, wörld", Text},
		{"program", "a.py", "#!/usr/bin/env python3\nprint(1)", Text},
		{"Markdown", "A.MD", "# Hello", Markdown},
		{"CSV by name", "a.csv", "just one line", CSV},
		{"CSV by content", "", "a,b,c\n1,2,3\n4,5,6\n", CSV},
		{"JSON by content", "", `{"a": [1, 2, 3]}`, JSON},
		{"SVG", "", svg, ""},
		{"SVG named .png", "a.png", svg, ""},
		{"SVG named .txt", "a.txt", svg, ""},
		{"HTML named .md", "a.md", "<!DOCTYPE html><script>alert(1)</script>", ""},
		{"XML", "a.txt", `<?xml version="1.0"?><a/>`, ""},
		{"ZIP", "a.png", "PK\x03\x04\x14\x00\x00\x00\x08\x00", ""},
		{"ELF", "", "\x7fELF\x02\x01\x01\x00", ""},
		{"HEIC", "a.jpg", "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heic", ""},
		{"MP4", "", "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isom", ""},
		{"nothing", "a.txt", "", ""},
	} {
		taken, err := Config{}.Take(t.Context(), test.name, []byte(test.data))
		switch {
		case test.want == "" && !errors.Is(err, ErrType):
			t.Errorf("%s: %v as %s, want that its type is refused", test.what, err, taken.MediaType)
		case test.want != "" && (err != nil || taken.MediaType != test.want):
			t.Errorf("%s: kept as %q, want %q: %v", test.what, taken.MediaType, test.want, err)
		}
		if test.what == "PDF" && taken.Pages != 2 {
			t.Errorf("the PDF has %d pages", taken.Pages)
		}
	}
	if _, err := (Config{Types: []string{PDF}}).Take(t.Context(), "", asPNG(t, picture(4, 4))); !errors.Is(err, ErrType) {
		t.Errorf("an image where PDF alone is allowed: %v", err)
	}
	for what, text := range map[string]string{"no UTF-8": "Hello, w\xf6rld. It is long enough to be taken for text.", "a NUL far behind": strings.Repeat("text ", 1000) + "\x00"} {
		if _, err := (Config{}).Take(t.Context(), "a.txt", []byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("text with %s: %v", what, err)
		}
	}
}

// TestNothingElseIsKept holds that of an image nothing but its pixels is kept.
func TestNothingElseIsKept(t *testing.T) {
	plain := asPNG(t, picture(40, 20))
	text := append([]byte(nil), plain[:8]...)
	body := append([]byte("tEXtComment\x00"), canary...)
	text = binary.BigEndian.AppendUint32(text, uint32(len(body)-4))
	// Behind IHDR, which is 25 bytes long.
	text = append(append(append([]byte(nil), plain[:33]...), append(text[8:], body...)...), 0, 0, 0, 0)
	crc := crc32.ChecksumIEEE(body)
	binary.BigEndian.PutUint32(text[len(text)-4:], crc)
	text = append(text, plain[33:]...)
	for what, data := range map[string][]byte{
		"EXIF of a photo":      photo(t, picture(40, 20), 1),
		"comment in a PNG":     text,
		"something behind PNG": append(append([]byte(nil), plain...), canary...),
		"ZIP behind JPEG":      append(photo(t, picture(40, 20), 1), "PK\x03\x04"+canary...),
	} {
		if !bytes.Contains(data, []byte(canary)) {
			t.Fatalf("%s: there is no canary", what)
		}
		taken, err := Config{}.Take(t.Context(), "", data)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if bytes.Contains(taken.Data, []byte(canary)) || bytes.Contains(taken.Data, []byte("Exif")) || bytes.Contains(taken.Data, []byte("PK\x03\x04")) {
			t.Errorf("%s was kept", what)
		}
		if taken.Width != 40 || taken.Height != 20 {
			t.Errorf("%s: %d×%d pixels", what, taken.Width, taken.Height)
		}
	}
}

// TestUpright holds that each orientation of EXIF shows the same corners.
func TestUpright(t *testing.T) {
	original := picture(32, 16)
	for orientation := range uint16(10) {
		// A camera stores the picture turned so that the orientation undoes it.
		var stored image.Image = original
		if inverse := map[uint16]int{2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]; inverse != 0 {
			stored = upright(original, inverse)
		}
		taken, err := Config{}.Take(t.Context(), "", photo(t, stored, orientation))
		if err != nil {
			t.Fatal(err)
		}
		got, err := jpeg.Decode(bytes.NewReader(taken.Data))
		if err != nil {
			t.Fatal(err)
		}
		if size := got.Bounds().Size(); size != (image.Point{32, 16}) || taken.Width != 32 || taken.Height != 16 {
			t.Fatalf("orientation %d: %v", orientation, size)
		}
		for _, at := range []image.Point{{3, 3}, {28, 3}, {3, 12}, {28, 12}} {
			r, g, b, _ := got.At(at.X, at.Y).RGBA()
			wr, wg, wb, _ := original.At(at.X, at.Y).RGBA()
			if far(r, wr) || far(g, wg) || far(b, wb) {
				t.Errorf("orientation %d: at %v is %d %d %d, want %d %d %d", orientation, at, r>>8, g>>8, b>>8, wr>>8, wg>>8, wb>>8)
			}
		}
	}
}

func far(a, b uint32) bool { return max(a, b)-min(a, b) > 0x4000 }

func TestScale(t *testing.T) {
	for _, test := range []struct{ width, height, wantWidth, wantHeight int }{{300, 100, 100, 33}, {100, 300, 33, 100}, {100, 100, 100, 100}, {5000, 1, 100, 1}} {
		taken, err := Config{MaxSide: 100}.Take(t.Context(), "", asPNG(t, picture(test.width, test.height)))
		if err != nil {
			t.Fatal(err)
		}
		config, _, err := image.DecodeConfig(bytes.NewReader(taken.Data))
		if err != nil || config.Width != test.wantWidth || config.Height != test.wantHeight || taken.Width != test.wantWidth || taken.Height != test.wantHeight {
			t.Errorf("%d×%d became %d×%d, told as %d×%d: %v", test.width, test.height, config.Width, config.Height, taken.Width, taken.Height, err)
		}
	}
}

func TestTransparency(t *testing.T) {
	img := picture(8, 8)
	img.SetNRGBA(0, 0, color.NRGBA{})
	taken, err := Config{}.Take(t.Context(), "", asPNG(t, img))
	if err != nil || taken.MediaType != PNG {
		t.Fatalf("kept as %q: %v", taken.MediaType, err)
	}
	got, err := png.Decode(bytes.NewReader(taken.Data))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, a := got.At(0, 0).RGBA(); a != 0 {
		t.Error("what was transparent is not")
	}
}

// TestDecoders holds that two images are decoded at once, and that who waits for that leaves with its context.
func TestDecoders(t *testing.T) {
	data := asPNG(t, picture(4, 4))
	decoders <- struct{}{}
	decoders <- struct{}{}
	errLeft := errors.New("left")
	ctx, leave := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := Config{}.Take(ctx, "", data)
		done <- err
	}()
	leave(errLeft)
	if err := <-done; !errors.Is(err, errLeft) {
		t.Errorf("got error %v", err)
	}
	<-decoders
	if _, err := (Config{}).Take(t.Context(), "", data); err != nil {
		t.Error(err)
	}
	<-decoders
}
