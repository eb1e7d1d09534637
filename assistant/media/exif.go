package media

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// orientation returns how an image is to be turned, by its EXIF data: 1 where it has none. It reads a JPEG's APP1 segment, a
// PNG's eXIf chunk and a WebP's EXIF chunk (CIPA DC-008, section 4.6.4).
func orientation(data []byte) int {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8")):
		return ofTIFF(jpegEXIF(data))
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return ofTIFF(chunk(data[8:], "eXIf", binary.BigEndian, true))
	case len(data) > 12 && bytes.HasPrefix(data, []byte("RIFF")):
		return ofTIFF(bytes.TrimPrefix(chunk(data[12:], "EXIF", binary.LittleEndian, false), []byte("Exif\x00\x00")))
	}
	return 1
}

// segments yields what is before a JPEG's own data: the marker of each segment, and what is in it.
func segments(data []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for at := 2; at+4 <= len(data) && data[at] == 0xff; {
			marker, size := data[at+1], int(binary.BigEndian.Uint16(data[at+2:]))
			if marker == 0xff { // filled up
				at++
				continue
			}
			const scan, end = 0xda, 0xd9
			if marker == scan || marker == end || size < 2 || at+2+size > len(data) || !yield(marker, data[at+4:at+2+size]) {
				return
			}
			at += 2 + size
		}
	}
}

// jpegEXIF returns the TIFF data of the first EXIF segment.
func jpegEXIF(data []byte) []byte {
	for marker, segment := range segments(data) {
		if tiff, ok := bytes.CutPrefix(segment, []byte("Exif\x00\x00")); ok && marker == 0xe1 {
			return tiff
		}
	}
	return nil
}

// isProgressive reports whether data is a JPEG that comes in several passes.
func isProgressive(data []byte) bool {
	if !bytes.HasPrefix(data, []byte("\xff\xd8")) {
		return false
	}
	for marker := range segments(data) {
		if marker == 0xc2 {
			return true
		}
	}
	return false
}

// chunk returns the data of the first chunk of that name. PNG has the length before the name and a checksum behind; RIFF has
// the length behind the name, and pads to even lengths.
func chunk(data []byte, name string, order binary.ByteOrder, isPNG bool) []byte {
	for len(data) >= 8 {
		size, found := order.Uint32(data[4:]), string(data[:4])
		if isPNG {
			size, found = order.Uint32(data), string(data[4:8])
		}
		data = data[8:]
		if uint64(size) > uint64(len(data)) {
			return nil
		}
		if found == name {
			return data[:size]
		}
		data = data[size:]
		behind := int(size & 1)
		if isPNG {
			behind = 4
		}
		data = data[min(behind, len(data)):]
	}
	return nil
}

// ofTIFF returns the orientation that the first directory has.
func ofTIFF(data []byte) int {
	const tag, entry = 0x0112, 12
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case len(data) < 8:
		return 1
	case data[0] == 'M':
		order = binary.BigEndian
	}
	at := uint64(order.Uint32(data[4:]))
	if at+2 > uint64(len(data)) {
		return 1
	}
	entries := data[at+2:]
	for n := order.Uint16(data[at:]); n > 0 && len(entries) >= entry; n-- {
		if order.Uint16(entries) == tag {
			return int(order.Uint16(entries[8:]))
		}
		entries = entries[entry:]
	}
	return 1
}
