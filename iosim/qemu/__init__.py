"""QEMU: vCPU thread, IDE device, block layer, thread pool, main loop."""
