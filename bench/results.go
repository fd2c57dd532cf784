package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// results are what one run found. They are recorded as JSON; tables and chart
// are drawn from the record and from nothing else.
type results struct {
	Date   string   `json:"date"`
	Go     string   `json:"go"`
	System string   `json:"system"`
	CPU    string   `json:"cpu"`
	Cores  int      `json:"cores"`
	Rounds int      `json:"rounds"`
	Pairs  []pair   `json:"pairs"`
	Alone  []alone  `json:"alone"`
	Beside []beside `json:"beside"`
	// Lost is how many of Streams did not get what was sent on them.
	Streams int `json:"streams"`
	Lost    int `json:"lost"`
	// VerifyUS is one raw verification of an ES256 signature, FsyncUS one small
	// write that reaches the disk, both in microseconds by themselves.
	VerifyUS float64 `json:"verify_us"`
	FsyncUS  float64 `json:"fsync_us"`
}

// pair is one load on the gateway and on what it is compared with.
type pair struct {
	ID      string `json:"id"`
	Conns   int    `json:"connections"`
	Gateway sample `json:"gateway"`
	Other   sample `json:"other"`
	// Ratio is the median of the ratios of CPU within each pair.
	Ratio float64 `json:"ratio"`
}

// alone is a load that plain Caddy has nothing to compare with.
type alone struct {
	ID    string `json:"id"`
	Conns int    `json:"connections"`
	sample
}

// beside is a property of the process.
type beside struct {
	ID      string  `json:"id"`
	Gateway float64 `json:"gateway"`
	Plain   float64 `json:"plain"`
}

func newResults(rounds int) *results {
	return &results{
		Date: time.Now().UTC().Format(time.DateOnly), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
		CPU: processor(), Cores: runtime.NumCPU(), Rounds: rounds,
	}
}

// write records the results.
func (r *results) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the results: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // to be read by everybody
}

// readResults reads what was recorded.
func readResults(file string) (*results, error) {
	text, err := os.ReadFile(file) //nolint:gosec // named by the user of this program
	if err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}
	var r results
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("reading the results in %s: %w", file, err)
	}
	return &r, nil
}

// median returns the middle of what get finds in each of a list.
func median[T any](list []T, get func(T) float64) float64 {
	if len(list) == 0 {
		return 0
	}
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = get(v)
	}
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}

// medians returns the median of each field.
func medians(list []sample) sample {
	n := 0
	for _, s := range list {
		n += s.Count
	}
	return sample{
		Count:  n,
		CPU:    median(list, func(s sample) float64 { return s.CPU }),
		Rate:   median(list, func(s sample) float64 { return s.Rate }),
		P50:    median(list, func(s sample) float64 { return s.P50 }),
		P99:    median(list, func(s sample) float64 { return s.P99 }),
		Allocs: median(list, func(s sample) float64 { return s.Allocs }),
		Bytes:  median(list, func(s sample) float64 { return s.Bytes }),
	}
}
