/*
 * A guest and its VMM: one or two vCPUs in real mode that write ATA commands to the ports of the IDE channels.
 * Every port read gives 0x50 in each byte.  gcc -O1 -o ata_guest ata_guest.c -lpthread; ./ata_guest [two]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned char *code; /* where the next instruction goes */
static int vm, run_bytes;

static void in_dx(int port)
{
    *code++ = 0xba; /* mov dx, port */
    *code++ = port;
    *code++ = port >> 8;
}

static void out(int port, int value)
{
    in_dx(port);
    *code++ = 0xb0; /* mov al, value */
    *code++ = value;
    *code++ = 0xee; /* out dx, al */
}

static void in(int port)
{
    in_dx(port);
    *code++ = 0xec; /* in al, dx */
}

static void rep(int port, int n, int outs)
{
    in_dx(port);
    *code++ = outs ? 0xbe : 0xbf; /* mov si or di, 0x8000 */
    *code++ = 0;
    *code++ = 0x80;
    *code++ = 0xb9; /* mov cx, n */
    *code++ = n;
    *code++ = n >> 8;
    *code++ = 0xf3; /* rep outsw or insw */
    *code++ = outs ? 0x6f : 0x6d;
}

static void lba28(int base, int unit, unsigned lba, int n, int command)
{
    out(base + 6, 0xe0 | unit << 4 | (lba >> 24 & 15));
    in(base + 7);
    out(base + 1, 0);
    out(base + 2, n);
    out(base + 3, lba);
    out(base + 4, lba >> 8);
    out(base + 5, lba >> 16);
    out(base + 7, command);
    in(base == 0x1f0 ? 0x3f6 : 0x376);
}

static void lba48(int base, int unit, unsigned long lba, int n, int command)
{
    out(base + 6, 0xe0 | unit << 4);
    out(base + 1, 0);
    out(base + 2, n >> 8);
    out(base + 3, lba >> 24);
    out(base + 4, lba >> 32);
    out(base + 5, lba >> 40);
    out(base + 1, 0);
    out(base + 2, n);
    out(base + 3, lba);
    out(base + 4, lba >> 8);
    out(base + 5, lba >> 16);
    out(base + 7, command);
    in(base + 7);
}

static void flush(int base, int unit, int command)
{
    out(base + 6, 0xa0 | unit << 4);
    out(base + 7, command);
    in(base + 7);
}

static void first_channel(int base)
{
    out(0x3f6, 0x08);
    out(base + 6, 0xa0);
    out(base + 7, 0xec); /* IDENTIFY DEVICE */
    in(base + 7);
    rep(base, 256, 0);
    lba28(base, 0, 0x0a0b0c0, 8, 0xca);
    out(0xc000, 1);
    in(0xc002);
    lba28(base, 0, 2048, 1, 0x30);
    rep(base, 256, 1);
    in(base + 7);
    lba28(base, 1, 4096, 0, 0xc8);
    lba48(base, 0, 0x123456789aUL, 0x0102, 0x35);
    lba48(base, 0, 0x10000000UL, 16, 0x29);
    rep(base, 256, 0);
    flush(base, 0, 0xe7);
    flush(base, 1, 0xea);
    *code++ = 0xf4; /* hlt */
}

static void second_channel(int base)
{
    for (int i = 0; i < 6; i++)
        lba28(base, 0, 1000 + 8 * i, 8, i & 1 ? 0xca : 0xc8);
    flush(base, 0, 0xea);
    *code++ = 0xf4;
}

struct vcpu {
    int number, entry;
};

static void *run(void *argument)
{
    struct vcpu *vcpu = argument;
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = vcpu->entry, .rflags = 2};
    char name[16];

    snprintf(name, sizeof(name), "CPU %d/KVM", vcpu->number);
    pthread_setname_np(pthread_self(), name);
    int fd = ioctl(vm, KVM_CREATE_VCPU, vcpu->number);
    struct kvm_run *kvm_run = mmap(0, run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ioctl(fd, KVM_GET_SREGS, &sregs);
    sregs.cs.base = sregs.cs.selector = sregs.ds.base = sregs.ds.selector = sregs.es.base = sregs.es.selector = 0;
    ioctl(fd, KVM_SET_SREGS, &sregs);
    ioctl(fd, KVM_SET_REGS, &regs);
    while (ioctl(fd, KVM_RUN, 0) == 0 && kvm_run->exit_reason == KVM_EXIT_IO) {
        if (kvm_run->io.direction == KVM_EXIT_IO_IN)
            memset((char *)kvm_run + kvm_run->io.data_offset, 0x50, kvm_run->io.size * kvm_run->io.count);
        usleep(20);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int kvm = open("/dev/kvm", O_RDWR), n = argc > 1 ? 2 : 1;
    unsigned char *memory = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region region = {.memory_size = 1 << 20, .userspace_addr = (unsigned long)memory};
    struct vcpu vcpus[] = {{0, 0x1000}, {1, 0x2000}};
    pthread_t threads[2];

    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    run_bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
    code = memory + vcpus[0].entry;
    first_channel(0x1f0);
    code = memory + vcpus[1].entry;
    second_channel(0x170);
    for (int i = 0; i < n; i++)
        pthread_create(&threads[i], NULL, run, &vcpus[i]);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
