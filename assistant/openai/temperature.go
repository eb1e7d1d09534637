package openai

import (
	"encoding/json"
	"errors"
	"strconv"
)

// Temperature is a number, or off: then none is sent. Its JSON is the number or "off".
type Temperature struct {
	Value float64
	Off   bool
}

// ParseTemperature reads a number or off.
func ParseTemperature(text string) (t Temperature, err error) {
	if text == "off" {
		return Temperature{Off: true}, nil
	}
	t.Value, err = strconv.ParseFloat(text, 64)
	return t, err
}

// String returns the number, or off.
func (t Temperature) String() string {
	if t.Off {
		return "off"
	}
	return strconv.FormatFloat(t.Value, 'g', -1, 64)
}

// MarshalJSON implements [json.Marshaler].
func (t Temperature) MarshalJSON() ([]byte, error) {
	if t.Off {
		return []byte(`"off"`), nil
	}
	return json.Marshal(t.Value)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Temperature) UnmarshalJSON(data []byte) error {
	*t = Temperature{}
	if string(data) == `"off"` {
		t.Off = true
		return nil
	}
	if json.Unmarshal(data, &t.Value) != nil {
		return errors.New(`expected a number or "off"`)
	}
	return nil
}

func (t *Temperature) check() error {
	if t == nil || t.Off {
		return nil
	}
	return checkRange("temperature", &t.Value, 2)
}

var (
	_ json.Marshaler   = Temperature{}
	_ json.Unmarshaler = (*Temperature)(nil)
)
