//go:build faults

package main

// sampled takes every operation.
const sampled = 1
