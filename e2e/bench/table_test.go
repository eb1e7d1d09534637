package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// sample is what one measurement gave, by the names of columns.
type sample map[string]float64

// column is one figure of each row. Its median is shown, and how many times that of the rows in against it is: the
// median of the rounds' ratios, since what slows a machine down for a while slows down what is measured together.
type column struct {
	name    string
	format  string // of a float64
	against []string
}

// table gathers samples by row. Rows stand in the order in which they were measured first.
type table struct {
	columns []column
	rows    []string
	samples map[string][]sample // of a row, by round
}

func newTable(columns []column) *table {
	return &table{columns: columns, samples: make(map[string][]sample)}
}

func (t *table) add(row string, s sample) {
	if t.samples[row] == nil {
		t.rows = append(t.rows, row)
	}
	t.samples[row] = append(t.samples[row], s)
}

func (t *table) String() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprint(w, "server")
	for _, c := range t.columns {
		fmt.Fprint(w, "\t", c.name)
		for _, base := range t.bases(c) {
			fmt.Fprint(w, "\t× ", base)
		}
	}
	fmt.Fprintln(w)
	for _, row := range t.rows {
		fmt.Fprint(w, row)
		for _, c := range t.columns {
			fmt.Fprint(w, "\t", show(c.format, t.median(row, "", c.name)))
			for _, base := range t.bases(c) {
				fmt.Fprint(w, "\t", show("%.2f", t.median(row, base, c.name)))
			}
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return text.String()
}

// bases are the rows that a column is compared with, of those that were measured.
func (t *table) bases(c column) []string {
	return slices.DeleteFunc(slices.Clone(c.against), func(row string) bool { return t.samples[row] == nil })
}

// median is that of a row's figures, each divided by the base's of the same round where there is a base. It is NaN
// where a row has no such figure.
func (t *table) median(row, base, column string) float64 {
	var values []float64
	for round, s := range t.samples[row] {
		value, ok := s[column]
		if base != "" {
			value /= t.samples[base][round][column]
		}
		if ok && !math.IsNaN(value) {
			values = append(values, value)
		}
	}
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func show(format string, value float64) string {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return "-"
	}
	return fmt.Sprintf(format, value)
}
