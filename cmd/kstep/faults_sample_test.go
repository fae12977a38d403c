//go:build !faults

package main

// sampled is how many operations there are for one that gets a fault. It is a
// prime, so that every kind and place has its turn.
const sampled = 409
