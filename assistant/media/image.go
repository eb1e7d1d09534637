package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"strings"

	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/webp"
)

// quality is that of JPEG, from 1 to 100.
const quality = 85

// decoders holds one for each image that is being decoded in this process.
var decoders = make(chan struct{}, 2)

func isImage(kind string) bool { return strings.HasPrefix(kind, "image/") }

// codec is how images of a type are decoded.
type codec struct {
	config func(r io.Reader) (image.Config, error)
	decode func(r io.Reader) (image.Image, error)
}

var codecs = map[string]codec{
	PNG:  {png.DecodeConfig, png.Decode},
	JPEG: {jpeg.DecodeConfig, jpeg.Decode},
	WebP: {webp.DecodeConfig, webp.Decode},
	GIF:  {gif.DecodeConfig, decodeGIF},
}

// decodeGIF returns the first frame on the whole canvas, whose size is that of DecodeConfig.
func decodeGIF(r io.Reader) (image.Image, error) {
	frame, err := gif.Decode(r)
	if err != nil {
		return nil, err
	}
	config := frame.Bounds()
	if config.Min == (image.Point{}) {
		return frame, nil
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, config.Max.X, config.Max.Y))
	draw.Draw(canvas, config, frame, config.Min, draw.Src)
	return canvas, nil
}

// takeImage decodes an image and encodes it anew.
func (c Config) takeImage(ctx context.Context, kind string, data []byte) (Taken, error) {
	config, err := c.configOf(kind, data)
	if err != nil {
		return Taken{}, err
	}
	select {
	case decoders <- struct{}{}:
		defer func() { <-decoders }()
	case <-ctx.Done():
		return Taken{}, context.Cause(ctx)
	}
	taken, err := c.encode(codecs[kind], data, config)
	if err != nil {
		return Taken{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return taken, nil
}

// configOf returns the size of an image before anything of it is decoded.
func (c Config) configOf(kind string, data []byte) (image.Config, error) {
	config, err := codecs[kind].config(bytes.NewReader(data))
	if err != nil {
		return config, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	limit := c.MaxPixels
	if limit <= 0 {
		limit = defaultMaxPixels
	}
	// Of a progressive JPEG the decoder keeps all coefficients; deep colours take 8 bytes for each pixel, not 4.
	isDeep := config.ColorModel == color.RGBA64Model || config.ColorModel == color.NRGBA64Model
	if isDeep || isProgressive(data) {
		limit /= 2
	}
	switch {
	case config.Width <= 0 || config.Height <= 0:
		return config, fmt.Errorf("%w: image without pixels", ErrInvalid)
	case config.Width > limit/config.Height:
		return config, fmt.Errorf("%w: image of %d×%d pixels, at most %d are allowed", ErrInvalid, config.Width, config.Height, limit)
	}
	return config, nil
}

var errSize = errors.New("image has not the size that it says")

// encode decodes an image, turns and scales it, and encodes it as JPEG or, where it is not opaque, PNG. A decoder that
// panics has found a fault in the image.
func (c Config) encode(codec codec, data []byte, config image.Config) (taken Taken, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("decoder panicked: %v", v)
		}
	}()
	decoded, err := codec.decode(bytes.NewReader(data))
	if err != nil {
		return Taken{}, err
	}
	if size := decoded.Bounds().Size(); size.X > config.Width || size.Y > config.Height {
		return Taken{}, errSize
	}
	picture := upright(c.scaled(decoded), orientation(data))
	size := picture.Bounds().Size()
	taken = Taken{MediaType: JPEG, Width: size.X, Height: size.Y}
	var out bytes.Buffer
	if isOpaque(picture) {
		err = jpeg.Encode(&out, picture, &jpeg.Options{Quality: quality})
	} else {
		taken.MediaType = PNG
		err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&out, picture)
	}
	taken.Data = out.Bytes()
	return taken, err
}

// scaled returns the image with no side longer than allowed.
func (c Config) scaled(picture image.Image) image.Image {
	limit := c.MaxSide
	if limit <= 0 {
		limit = defaultMaxSide
	}
	bounds := picture.Bounds()
	width, height := bounds.Dx(), bounds.Dy()
	longest := max(width, height)
	if longest <= limit {
		return picture
	}
	small := image.NewNRGBA(image.Rect(0, 0, max(width*limit/longest, 1), max(height*limit/longest, 1)))
	xdraw.ApproxBiLinear.Scale(small, small.Bounds(), picture, bounds, xdraw.Src, nil)
	return small
}

// isOpaque reports whether no pixel can be seen through.
func isOpaque(picture image.Image) bool {
	opaque, ok := picture.(interface{ Opaque() bool })
	return ok && opaque.Opaque()
}

// upright returns the image as it is to be seen, by the orientation of EXIF: 1 is as it is.
func upright(picture image.Image, orientation int) image.Image {
	if orientation < 2 || orientation > 8 {
		return picture
	}
	bounds := picture.Bounds()
	width, height := bounds.Dx(), bounds.Dy()
	source := image.NewNRGBA(image.Rect(0, 0, width, height))
	draw.Draw(source, source.Bounds(), picture, bounds.Min, draw.Src)
	target := image.NewNRGBA(source.Bounds())
	if orientation >= 5 {
		target = image.NewNRGBA(image.Rect(0, 0, height, width))
	}
	for y := range height {
		for x := range width {
			to, from := target.PixOffset(turned(orientation, x, y, width-1, height-1)), source.PixOffset(x, y)
			copy(target.Pix[to:to+4], source.Pix[from:])
		}
	}
	return target
}

// turned returns where a pixel goes; right and bottom are the last of each.
func turned(orientation, x, y, right, bottom int) (tx, ty int) {
	switch orientation {
	case 2:
		return right - x, y
	case 3:
		return right - x, bottom - y
	case 4:
		return x, bottom - y
	case 5:
		return y, x
	case 6:
		return bottom - y, x
	case 7:
		return bottom - y, right - x
	default:
		return y, right - x
	}
}
