package e2e

import "runtime"

// lockThread binds the goroutine to a thread that is thrown away with it.
func lockThread() { runtime.LockOSThread() }
