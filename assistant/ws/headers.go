package ws

import "encoding/binary"

// headers follows the frame headers (RFC 6455 section 5.2) in what a peer sends, for what gorilla does not
// report of them.
type headers struct {
	header   [10]byte // of the frame that has begun, without its mask
	have     uint8    // bytes of header
	rest     uint64   // bytes of mask and payload that are still to come
	halfCode bool     // a close frame with a payload of one byte has come
	messages uint32   // whole messages
	isOpen   bool     // something has come after the last whole message
}

// follow takes the next bytes.
func (h *headers) follow(p []byte) {
	for len(p) > 0 {
		if h.rest > 0 {
			n := min(h.rest, uint64(len(p)))
			h.rest -= n
			p = p[n:]
			if h.rest == 0 {
				h.ended()
			}
			continue
		}
		h.isOpen = true
		h.header[h.have] = p[0]
		h.have++
		p = p[1:]
		if size, whole := h.length(); whole {
			const closing, masked = 0x8, 0x80
			h.halfCode = h.halfCode || h.header[0]&0xf == closing && size == 1
			if h.rest = size; h.header[1]&masked != 0 {
				h.rest += 4
			}
			h.have = 0
			if h.rest == 0 {
				h.ended()
			}
		}
	}
}

// ended notes the end of a frame.
func (h *headers) ended() {
	const final, control = 0x80, 0x8
	if h.header[0]&(final|control) == final {
		h.messages++
		h.isOpen = false
	}
}

// length returns the payload's length once the header is whole.
func (h *headers) length() (n uint64, whole bool) {
	if h.have < 2 {
		return 0, false
	}
	switch n := h.header[1] & 0x7f; {
	case n < 126:
		return uint64(n), true
	case n == 126:
		return uint64(binary.BigEndian.Uint16(h.header[2:4])), h.have == 4
	default:
		return binary.BigEndian.Uint64(h.header[2:10]), h.have == 10
	}
}
