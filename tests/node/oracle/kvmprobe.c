/*
 * kvmprobe: what the kernel's KVM really lets a guest do, found out by being a hypervisor.
 *
 *   kvmprobe caps          print what KVM offers guests, one NAME=VALUE a line
 *   kvmprobe svm           run a guest that runs a guest of its own (AMD: VMRUN, ended by VMMCALL)
 *   kvmprobe vmx           the same on Intel (VMLAUNCH, ended by VMCALL)
 *   kvmprobe hold SECONDS  keep a virtual machine open, as a running guest does
 *
 * Exit code: 0 done (svm, vmx: the nested guest ran), 1 the guest was refused (it took an
 * exception when it reached for the instruction), 2 anything else.
 *
 * Host, guest, nested guest are L0, L1, L2 below. Each test gives L1 a few pages of memory with
 * everything prepared in it, so that L1 is only a dozen instructions; it reports through ports.
 *
 * Build: gcc -O1 -static -o kvmprobe kvmprobe.c
 *
 * Sources: [APM] AMD64 Architecture Programmer's Manual, volume 2; [SDM] Intel 64 and IA-32
 * Architectures Software Developer's Manual, volumes 3 and 4; [KVM] Linux,
 * Documentation/virt/kvm/api.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DONE = 0, REFUSED = 1, FAILED = 2 };

/* ---- L1's physical memory; the same numbers are in the assembly below ---- */

enum {
    L1_CODE = 0x1000,
    L1_STACK = 0x2000, /* grows down into the end of L1_CODE's page */
    VMX_POINTERS = 0x2f00, /* operands of VMXON, and 8 bytes on, of VMCLEAR and VMPTRLD */
    VMCB = 0x3000,
    L2_CODE = 0x4000,
    /* 0x5000: the host save area of VMRUN */
    IDT = 0x6000,
    GDT = 0x7000,
    TSS = 0x7080,
    HANDLERS = 0x8000,
    HANDLER_SIZE = 16,
    VMWRITES = 0x9000, /* pairs of field and value, ended by -1 */
    PAGE_DIRECTORY = 0xa000,
    VMXON_REGION = 0x20000,
    VMCS = 0x21000,
    MEMORY_SIZE = 0x800000, /* two 4 MiB pages */
};

/* ---- the ports that L1 writes to ---- */

enum {
    PORT_STAGE = 0xf0,
    PORT_EXCEPTION = 0xf1,
    PORT_EXIT = 0xf2, /* why L2 ended */
    PORT_L2_RAX = 0xf3,
    PORT_FEATURE_CONTROL = 0xf4,
    PORT_FAILED_AT = 0xf5,
    PORT_VMX_ERROR = 0xf6,
};

enum { GREETING = 0x4242 /* L2 leaves it in ax */ };

static const struct { unsigned port; const char *name; } ports[] = {
    {PORT_STAGE, "stage"},
    {PORT_EXCEPTION, "exception"},
    {PORT_EXIT, "l2_exit"},
    {PORT_L2_RAX, "l2_rax"},
    {PORT_FEATURE_CONTROL, "feature_control"},
    {PORT_FAILED_AT, "failed_at"},
    {PORT_VMX_ERROR, "vmx_error"},
};

/* What L1 said last, by port. */
static uint32_t said[8];

static uint32_t *heard(unsigned port)
{
    return &said[port - PORT_STAGE];
}

/* ---- L1 and L2 themselves: L1 is 32-bit with paging, L2 as each test sets it up ---- */

extern const uint8_t l1_svm[], l1_svm_end[], l1_vmx[], l1_vmx_exit[], l1_vmx_end[];
extern const uint8_t l1_trap[], l1_trap_end[];
extern const uint8_t l2_svm[], l2_svm_end[], l2_vmx[], l2_vmx_end[];

__asm__(
    ".pushsection .rodata\n"
    ".code32\n"

    "l1_svm:\n"
    "  mov $1, %eax; out %eax, $0xf0\n"
    /* EFER.SVME, bit 12: KVM refuses it with #GP when nested is off [APM 15.4]. */
    "  mov $0xc0000080, %ecx; rdmsr; or $0x1000, %eax; wrmsr\n"
    "  mov $2, %eax; out %eax, $0xf0\n"
    /* VM_HSAVE_PA [APM 15.30.4]. */
    "  mov $0xc0010117, %ecx; mov $0x5000, %eax; xor %edx, %edx; wrmsr\n"
    "  mov $3, %eax; out %eax, $0xf0\n"
    "  mov $0x3000, %eax; vmrun\n"
    "  mov $4, %eax; out %eax, $0xf0\n"
    /* EXITCODE and the saved RAX of the VMCB [APM, appendix B]. */
    "  mov 0x3070, %eax; out %eax, $0xf2\n"
    "  mov 0x35f8, %eax; out %eax, $0xf3\n"
    "  hlt\n"
    "l1_svm_end:\n"

    "l1_vmx:\n"
    "  mov $1, %eax; out %eax, $0xf0\n"
    /* CR4.VMXE, bit 13: KVM refuses it with #GP when nested is off [SDM 3, "Enabling and entering
       VMX operation"]. */
    "  mov %cr4, %eax; or $0x2000, %eax; mov %eax, %cr4\n"
    "  mov $2, %eax; out %eax, $0xf0\n"
    /* IA32_FEATURE_CONTROL: lock it, with VMX outside SMX, as firmware does [SDM 3,
       "Restrictions on VMX operation"]. */
    "  mov $0x3a, %ecx; rdmsr; out %eax, $0xf4\n"
    "  test $1, %eax; jnz 1f\n"
    "  or $5, %eax; wrmsr\n"
    "1:\n"
    /* VMX instructions tell of failure in CF or ZF [SDM 3, "VMX instruction reference"]. */
    "  vmxon 0x2f00; jbe 9f\n"
    "  mov $3, %eax; out %eax, $0xf0\n"
    "  vmclear 0x2f08; jbe 9f\n"
    "  vmptrld 0x2f08; jbe 9f\n"
    "  mov $4, %eax; out %eax, $0xf0\n"
    "  mov $0x9000, %esi\n"
    "2:\n"
    "  mov (%esi), %eax; cmp $-1, %eax; je 3f\n"
    "  mov 4(%esi), %ebx; vmwrite %ebx, %eax; jbe 9f\n"
    "  add $8, %esi; jmp 2b\n"
    "3:\n"
    "  mov $5, %eax; out %eax, $0xf0\n"
    "  vmlaunch\n"
    "9:\n"
    "  mov $0xbad, %eax; out %eax, $0xf0\n"
    "  mov %esi, %eax; out %eax, $0xf5\n"
    /* VM-instruction error. */
    "  mov $0x4400, %eax; vmread %eax, %ebx; mov %ebx, %eax; out %eax, $0xf6\n"
    "  hlt\n"
    /* Here the processor goes when L2 ends; L2's eax is still in place. */
    "l1_vmx_exit:\n"
    "  mov %eax, %edi\n"
    "  mov $6, %eax; out %eax, $0xf0\n"
    /* Exit reason. */
    "  mov $0x4402, %eax; vmread %eax, %ebx; mov %ebx, %eax; out %eax, $0xf2\n"
    "  movzwl %di, %eax; out %eax, $0xf3\n"
    "  hlt\n"
    "l1_vmx_end:\n"

    /* One copy for each exception, with its vector in place of 0x55. */
    "l1_trap:\n"
    "  mov $0x55, %al; movzbl %al, %eax; out %eax, $0xf1\n"
    "  hlt\n"
    "l1_trap_end:\n"

    /* In 32-bit mode, like L1: it needs no "unrestricted guest". */
    "l2_vmx:\n"
    "  mov $0x4242, %ax\n"
    "  vmcall\n"
    "  hlt\n"
    "l2_vmx_end:\n"

    /* In real mode. */
    ".code16\n"
    "l2_svm:\n"
    "  mov $0x4242, %ax\n"
    "  vmmcall\n"
    "  hlt\n"
    "l2_svm_end:\n"

    ".code64\n"
    ".popsection\n");

/* ---- L0: a virtual machine with one processor ---- */

static int kvm, vm, vcpu;
static struct kvm_run *run;
static uint8_t *memory;
static struct kvm_cpuid2 *cpuid;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(FAILED);
}

static long ask(int fd, unsigned long request, const char *name, void *argument)
{
    long answer = ioctl(fd, request, argument);

    if (answer < 0)
        fail("%s: %s", name, strerror(errno));
    return answer;
}

#define ASK(fd, request, argument) ask(fd, request, #request, (void *)(uintptr_t)(argument))

static void open_kvm(void)
{
    enum { ENTRIES = 256 };

    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        fail("/dev/kvm: %s", strerror(errno));
    cpuid = calloc(1, sizeof(*cpuid) + ENTRIES * sizeof(cpuid->entries[0]));
    if (!cpuid)
        fail("no memory");
    cpuid->nent = ENTRIES;
    ASK(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
}

static void open_vm(void)
{
    vm = ASK(kvm, KVM_CREATE_VM, 0);
}

static void create_vcpu(void)
{
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY_SIZE};
    /* Intel needs both below 4 GiB and away from memory [KVM, KVM_SET_TSS_ADDR]. */
    uint64_t identity_map = 0xfffbc000;
    uint64_t tss = 0xfffbd000;
    int prot = PROT_READ | PROT_WRITE;

    memory = mmap(NULL, MEMORY_SIZE, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("guest memory: %s", strerror(errno));
    region.userspace_addr = (uintptr_t)memory;
    ASK(vm, KVM_SET_TSS_ADDR, tss);
    ASK(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    ASK(vm, KVM_SET_USER_MEMORY_REGION, &region);
    vcpu = ASK(vm, KVM_CREATE_VCPU, 0);
    run = mmap(NULL, ASK(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), prot, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        fail("kvm_run: %s", strerror(errno));
    ASK(vcpu, KVM_SET_CPUID2, cpuid);
}

static void put(uint32_t address, const void *data, size_t size)
{
    memcpy(memory + address, data, size);
}

static void put16(uint32_t address, uint16_t value)
{
    put(address, &value, sizeof(value));
}

static void put32(uint32_t address, uint32_t value)
{
    put(address, &value, sizeof(value));
}

static void put64(uint32_t address, uint64_t value)
{
    put(address, &value, sizeof(value));
}

/* Control register bits [SDM 3, "Control registers"]. */
enum { CR0_PE = 1 << 0, CR0_ET = 1 << 4, CR0_NE = 1 << 5, CR4_PSE = 1 << 4, CR4_VMXE = 1 << 13 };
#define CR0_PG 0x80000000u
#define L1_CR0 (CR0_PG | CR0_NE | CR0_ET | CR0_PE)

/* L1's segments: selectors into its GDT. */
enum { SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_TSS = 0x18 };

/* Put L1 in flat 32-bit protected mode, memory mapped to itself, at its first instruction. */
static void prepare_l1(const uint8_t *code, const uint8_t *end)
{
    struct kvm_segment cs = {
        .limit = 0xffffffff, .selector = SEL_CODE, .type = 11,
        .present = 1, .db = 1, .s = 1, .g = 1,
    };
    struct kvm_segment data = cs;
    struct kvm_segment tr = {
        .base = TSS, .limit = 0x67, .selector = SEL_TSS, .type = 11, .present = 1,
    };
    struct kvm_regs regs = {.rip = L1_CODE, .rsp = L1_STACK, .rflags = 2};
    struct kvm_sregs sregs;

    put(L1_CODE, code, end - code);

    /* Null, flat code, flat data, busy 32-bit TSS [SDM 3, "Segment descriptors"]. */
    put64(GDT, 0);
    put64(GDT + SEL_CODE, 0x00cf9b000000ffff);
    put64(GDT + SEL_DATA, 0x00cf93000000ffff);
    put64(GDT + SEL_TSS, 0x00008b0000000067 | (uint64_t)TSS << 16);

    /* A 32-bit interrupt gate (type 0x8e) for each exception [SDM 3, "IDT descriptors"]. */
    for (int vector = 0; vector < 32; vector++) {
        uint32_t handler = HANDLERS + vector * HANDLER_SIZE;

        put(handler, l1_trap, l1_trap_end - l1_trap);
        memory[handler + 1] = vector;
        put64(IDT + vector * 8, (handler & 0xffff) | (uint64_t)SEL_CODE << 16 |
                                    (uint64_t)0x8e << 40 | (uint64_t)(handler >> 16) << 48);
    }

    /* Present, writable 4 MiB pages [SDM 3, "32-bit paging"]. */
    for (uint32_t page = 0; page < MEMORY_SIZE >> 22; page++)
        put32(PAGE_DIRECTORY + page * 4, page << 22 | 0x83);

    data.selector = SEL_DATA;
    data.type = 3;
    ASK(vcpu, KVM_GET_SREGS, &sregs);
    sregs.cs = cs;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.tr = tr;
    sregs.gdt.base = GDT;
    sregs.gdt.limit = 0x1f;
    sregs.idt.base = IDT;
    sregs.idt.limit = 0xff;
    sregs.cr0 = L1_CR0;
    sregs.cr3 = PAGE_DIRECTORY;
    sregs.cr4 = CR4_PSE;
    sregs.efer = 0;
    ASK(vcpu, KVM_SET_SREGS, &sregs);
    ASK(vcpu, KVM_SET_REGS, &regs);
}

static void hear(void)
{
    uint32_t value = 0;

    memcpy(&value, (uint8_t *)run + run->io.data_offset, run->io.size);
    for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++)
        if (ports[i].port == run->io.port) {
            printf("%s=0x%x\n", ports[i].name, value);
            *heard(run->io.port) = value;
            return;
        }
    fail("l1 wrote to port 0x%x", run->io.port);
}

/* Run L1 until it halts (DONE) or takes an exception (REFUSED). */
static int run_l1(void)
{
    enum { PATIENCE = 200 };

    memset(said, 0xff, sizeof(said));
    for (int exits = 0; exits < PATIENCE; exits++) {
        ASK(vcpu, KVM_RUN, 0);
        switch (run->exit_reason) {
        case KVM_EXIT_HLT:
            return DONE;
        case KVM_EXIT_IO:
            hear();
            if (run->io.port == PORT_EXCEPTION)
                return REFUSED;
            break;
        case KVM_EXIT_SHUTDOWN:
            fail("l1 took a triple fault");
        case KVM_EXIT_FAIL_ENTRY:
            fail("l1 could not be entered: 0x%llx",
                 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
        case KVM_EXIT_INTERNAL_ERROR:
            fail("l1 ended with KVM's internal error %u", run->internal.suberror);
        default:
            fail("l1 ended with KVM exit %u", run->exit_reason);
        }
    }
    fail("l1 does not come to an end");
}

/* What a test comes to: L2 must have ended as it should, with its greeting. */
static int verdict(int ended, uint32_t exit)
{
    if (ended == REFUSED) {
        printf("refused: l1 took exception %u\n", *heard(PORT_EXCEPTION));
        return REFUSED;
    }
    if (*heard(PORT_EXIT) != exit || (*heard(PORT_L2_RAX) & 0xffff) != GREETING)
        fail("l2 did not run as it should");
    puts("l2 ran");
    return DONE;
}

/* ---- AMD ---- */

/* VMCB, control area [APM, appendix B, table B-1]. */
enum {
    VMCB_INTERCEPT_3 = 0x00c, /* bit 24: HLT */
    VMCB_INTERCEPT_4 = 0x010, /* bit 0: VMRUN, which must be set; bit 1: VMMCALL */
    VMCB_ASID = 0x058, /* must not be 0 */
};

/* VMCB, state save area [APM, appendix B, table B-2]: offsets from its own start. */
enum {
    VMCB_SAVE = 0x400, /* where it starts in the VMCB */
    SAVE_ES = 0x000,
    SAVE_CS = 0x010,
    SAVE_SS = 0x020,
    SAVE_DS = 0x030,
    SAVE_FS = 0x040,
    SAVE_GS = 0x050,
    SAVE_GDTR = 0x060,
    SAVE_LDTR = 0x070,
    SAVE_IDTR = 0x080,
    SAVE_TR = 0x090,
    SAVE_EFER = 0x0d0, /* SVME must be set */
    SAVE_CR0 = 0x158,
    SAVE_DR7 = 0x160,
    SAVE_DR6 = 0x168,
    SAVE_RFLAGS = 0x170,
    SAVE_RIP = 0x178,
    SAVE_RSP = 0x1d8,
    SAVE_G_PAT = 0x268,
};

enum { EXIT_VMMCALL = 0x81 /* [APM, appendix C] */ };

/* Selector, attributes (descriptor bits 55:52 and 47:40 in 12), limit, base [APM 15.5.1]. */
static void vmcb_segment(uint32_t offset, uint16_t attributes, uint16_t selector)
{
    uint32_t address = VMCB + VMCB_SAVE + offset;

    put16(address, selector);
    put16(address + 2, attributes);
    put32(address + 4, 0xffff);
    put64(address + 8, (uint64_t)selector << 4);
}

static int test_svm(void)
{
    const uint32_t save = VMCB + VMCB_SAVE;

    prepare_l1(l1_svm, l1_svm_end);
    put(L2_CODE, l2_svm, l2_svm_end - l2_svm);

    put32(VMCB + VMCB_INTERCEPT_3, 1u << 24);
    put32(VMCB + VMCB_INTERCEPT_4, 1u << 0 | 1u << 1);
    put32(VMCB + VMCB_ASID, 1);

    /* Real mode, as after reset but for where the code is. */
    vmcb_segment(SAVE_CS, 0x9b, L2_CODE >> 4);
    for (uint32_t segment = SAVE_ES; segment <= SAVE_GS; segment += SAVE_CS - SAVE_ES)
        if (segment != SAVE_CS)
            vmcb_segment(segment, 0x93, 0);
    vmcb_segment(SAVE_GDTR, 0, 0);
    vmcb_segment(SAVE_LDTR, 0x82, 0);
    vmcb_segment(SAVE_IDTR, 0, 0);
    vmcb_segment(SAVE_TR, 0x8b, 0);
    put64(save + SAVE_EFER, 1 << 12);
    put64(save + SAVE_CR0, CR0_ET);
    put64(save + SAVE_DR7, 0x400);
    put64(save + SAVE_DR6, 0xffff0ff0);
    put64(save + SAVE_RFLAGS, 2);
    put64(save + SAVE_RIP, 0);
    put64(save + SAVE_RSP, 0x800);
    put64(save + SAVE_G_PAT, 0x0007040600070406);

    return verdict(run_l1(), EXIT_VMMCALL);
}

/* ---- Intel ---- */

/* VMX capability MSRs [SDM 3, appendix A]. */
enum {
    MSR_VMX_BASIC = 0x480,
    MSR_VMX_PINBASED_CTLS = 0x481,
    MSR_VMX_PROCBASED_CTLS = 0x482,
    MSR_VMX_EXIT_CTLS = 0x483,
    MSR_VMX_ENTRY_CTLS = 0x484,
    MSR_VMX_TRUE_CTLS = 0x48d - MSR_VMX_PINBASED_CTLS, /* from each of the four to its TRUE one */
};
#define VMX_BASIC_TRUE_CTLS (1ull << 55)

enum { EXIT_REASON_VMCALL = 0x12 /* [SDM 3, appendix C] */, PROCBASED_HLT_EXITING = 1u << 7 };

/* VMCS field encodings [SDM 3, appendix B]. Guest segments: ES CS SS DS FS GS LDTR TR, 2 apart. */
enum {
    /* 16 bits */
    GUEST_SELECTOR = 0x0800,
    HOST_ES = 0x0c00,
    HOST_CS = 0x0c02,
    HOST_SS = 0x0c04,
    HOST_DS = 0x0c06,
    HOST_FS = 0x0c08,
    HOST_GS = 0x0c0a,
    HOST_TR = 0x0c0c,
    /* 64 bits; the odd number is the high half */
    TSC_OFFSET = 0x2010,
    TSC_OFFSET_HIGH = 0x2011,
    VMCS_LINK_POINTER = 0x2800,
    VMCS_LINK_POINTER_HIGH = 0x2801,
    GUEST_DEBUGCTL = 0x2802,
    GUEST_DEBUGCTL_HIGH = 0x2803,
    /* 32 bits */
    PINBASED_CTLS = 0x4000,
    PROCBASED_CTLS = 0x4002,
    EXCEPTION_BITMAP = 0x4004,
    PAGE_FAULT_MASK = 0x4006,
    PAGE_FAULT_MATCH = 0x4008,
    CR3_TARGET_COUNT = 0x400a,
    EXIT_CTLS = 0x400c,
    EXIT_MSR_STORE_COUNT = 0x400e,
    EXIT_MSR_LOAD_COUNT = 0x4010,
    ENTRY_CTLS = 0x4012,
    ENTRY_MSR_LOAD_COUNT = 0x4014,
    ENTRY_INTERRUPTION_INFO = 0x4016,
    GUEST_LIMIT = 0x4800,
    GUEST_GDTR_LIMIT = 0x4810,
    GUEST_IDTR_LIMIT = 0x4812,
    GUEST_ACCESS_RIGHTS = 0x4814,
    GUEST_INTERRUPTIBILITY = 0x4824,
    GUEST_ACTIVITY = 0x4826,
    GUEST_SYSENTER_CS = 0x482a,
    HOST_SYSENTER_CS = 0x4c00,
    /* as wide as the processor's registers */
    CR0_MASK = 0x6000,
    CR4_MASK = 0x6002,
    GUEST_CR0 = 0x6800,
    GUEST_CR3 = 0x6802,
    GUEST_CR4 = 0x6804,
    GUEST_BASE = 0x6806,
    GUEST_GDTR_BASE = 0x6816,
    GUEST_IDTR_BASE = 0x6818,
    GUEST_DR7 = 0x681a,
    GUEST_RSP = 0x681c,
    GUEST_RIP = 0x681e,
    GUEST_RFLAGS = 0x6820,
    GUEST_PENDING_DEBUG = 0x6822,
    GUEST_SYSENTER_ESP = 0x6824,
    GUEST_SYSENTER_EIP = 0x6826,
    HOST_CR0 = 0x6c00,
    HOST_CR3 = 0x6c02,
    HOST_CR4 = 0x6c04,
    HOST_FS_BASE = 0x6c06,
    HOST_GS_BASE = 0x6c08,
    HOST_TR_BASE = 0x6c0a,
    HOST_GDTR_BASE = 0x6c0c,
    HOST_IDTR_BASE = 0x6c0e,
    HOST_SYSENTER_ESP = 0x6c10,
    HOST_SYSENTER_EIP = 0x6c12,
    HOST_RSP = 0x6c14,
    HOST_RIP = 0x6c16,
};

/* L2's segments [SDM 3, "Guest register state"]: as L1's, but without an LDT (bit 16: unusable). */
static const struct { uint32_t selector, limit, rights, base; } guest_segments[] = {
    {SEL_DATA, 0xffffffff, 0xc093, 0},
    {SEL_CODE, 0xffffffff, 0xc09b, 0},
    {SEL_DATA, 0xffffffff, 0xc093, 0},
    {SEL_DATA, 0xffffffff, 0xc093, 0},
    {SEL_DATA, 0xffffffff, 0xc093, 0},
    {SEL_DATA, 0xffffffff, 0xc093, 0},
    {0, 0, 0x10000, 0},
    {SEL_TSS, 0x67, 0x8b, TSS},
};

static uint32_t vmwrites;

static void vmwrite(uint32_t field, uint32_t value)
{
    put32(vmwrites, field);
    put32(vmwrites + 4, value);
    vmwrites += 8;
}

/* An MSR as L1 will find it: a VMX feature MSR is KVM's own to tell, others are the vCPU's. */
static uint64_t msr(uint32_t index)
{
    struct {
        struct kvm_msrs header;
        struct kvm_msr_entry entry;
    } list = {.header.nmsrs = 1, .entry.index = index};

    if (ioctl(kvm, KVM_GET_MSRS, &list) != 1 && ioctl(vcpu, KVM_GET_MSRS, &list) != 1) {
        printf("msr_0x%x=unreadable\n", index);
        return 0;
    }
    return list.entry.data;
}

/* A control field: what is wanted, plus what must be 1, less what must be 0 [SDM 3, A.3-5]. */
static uint32_t control(uint32_t index, uint32_t wanted)
{
    uint64_t allowed = msr(index);

    return (wanted | (uint32_t)allowed) & (uint32_t)(allowed >> 32);
}

static void write_controls(uint64_t basic)
{
    uint32_t newer = basic & VMX_BASIC_TRUE_CTLS ? MSR_VMX_TRUE_CTLS : 0;

    vmwrite(PINBASED_CTLS, control(MSR_VMX_PINBASED_CTLS + newer, 0));
    vmwrite(PROCBASED_CTLS, control(MSR_VMX_PROCBASED_CTLS + newer, PROCBASED_HLT_EXITING));
    vmwrite(EXIT_CTLS, control(MSR_VMX_EXIT_CTLS + newer, 0));
    vmwrite(ENTRY_CTLS, control(MSR_VMX_ENTRY_CTLS + newer, 0));
    vmwrite(EXCEPTION_BITMAP, 0);
    vmwrite(PAGE_FAULT_MASK, 0);
    vmwrite(PAGE_FAULT_MATCH, 0);
    vmwrite(CR3_TARGET_COUNT, 0);
    vmwrite(EXIT_MSR_STORE_COUNT, 0);
    vmwrite(EXIT_MSR_LOAD_COUNT, 0);
    vmwrite(ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite(ENTRY_INTERRUPTION_INFO, 0);
    vmwrite(CR0_MASK, 0);
    vmwrite(CR4_MASK, 0);
    vmwrite(TSC_OFFSET, 0);
    vmwrite(TSC_OFFSET_HIGH, 0);
}

static void write_host_state(void)
{
    vmwrite(HOST_CR0, L1_CR0);
    vmwrite(HOST_CR3, PAGE_DIRECTORY);
    vmwrite(HOST_CR4, CR4_VMXE | CR4_PSE);
    vmwrite(HOST_ES, SEL_DATA);
    vmwrite(HOST_CS, SEL_CODE);
    vmwrite(HOST_SS, SEL_DATA);
    vmwrite(HOST_DS, SEL_DATA);
    vmwrite(HOST_FS, SEL_DATA);
    vmwrite(HOST_GS, SEL_DATA);
    vmwrite(HOST_TR, SEL_TSS);
    vmwrite(HOST_FS_BASE, 0);
    vmwrite(HOST_GS_BASE, 0);
    vmwrite(HOST_TR_BASE, TSS);
    vmwrite(HOST_GDTR_BASE, GDT);
    vmwrite(HOST_IDTR_BASE, IDT);
    vmwrite(HOST_SYSENTER_CS, 0);
    vmwrite(HOST_SYSENTER_ESP, 0);
    vmwrite(HOST_SYSENTER_EIP, 0);
    vmwrite(HOST_RSP, L1_STACK);
    vmwrite(HOST_RIP, L1_CODE + (l1_vmx_exit - l1_vmx));
}

static void write_guest_state(void)
{
    vmwrite(GUEST_CR0, L1_CR0);
    vmwrite(GUEST_CR3, PAGE_DIRECTORY);
    vmwrite(GUEST_CR4, CR4_VMXE | CR4_PSE);
    for (uint32_t i = 0; i < 8; i++) {
        vmwrite(GUEST_SELECTOR + 2 * i, guest_segments[i].selector);
        vmwrite(GUEST_LIMIT + 2 * i, guest_segments[i].limit);
        vmwrite(GUEST_ACCESS_RIGHTS + 2 * i, guest_segments[i].rights);
        vmwrite(GUEST_BASE + 2 * i, guest_segments[i].base);
    }
    vmwrite(GUEST_GDTR_BASE, GDT);
    vmwrite(GUEST_IDTR_BASE, IDT);
    vmwrite(GUEST_GDTR_LIMIT, 0x1f);
    vmwrite(GUEST_IDTR_LIMIT, 0xff);
    vmwrite(GUEST_DR7, 0x400);
    vmwrite(GUEST_RSP, L1_STACK);
    vmwrite(GUEST_RIP, L2_CODE);
    vmwrite(GUEST_RFLAGS, 2);
    vmwrite(GUEST_PENDING_DEBUG, 0);
    vmwrite(GUEST_SYSENTER_ESP, 0);
    vmwrite(GUEST_SYSENTER_EIP, 0);
    vmwrite(GUEST_INTERRUPTIBILITY, 0);
    vmwrite(GUEST_ACTIVITY, 0);
    vmwrite(GUEST_SYSENTER_CS, 0);
    vmwrite(VMCS_LINK_POINTER, 0xffffffff);
    vmwrite(VMCS_LINK_POINTER_HIGH, 0xffffffff);
    vmwrite(GUEST_DEBUGCTL, 0);
    vmwrite(GUEST_DEBUGCTL_HIGH, 0);
}

static int test_vmx(void)
{
    uint64_t basic;

    prepare_l1(l1_vmx, l1_vmx_end);
    put(L2_CODE, l2_vmx, l2_vmx_end - l2_vmx);

    /* Both regions begin with the revision, bits 30:0 of VMX_BASIC [SDM 3, A.1]. */
    basic = msr(MSR_VMX_BASIC);
    printf("vmx_basic=0x%llx\n", (unsigned long long)basic);
    put64(VMX_POINTERS, VMXON_REGION);
    put64(VMX_POINTERS + 8, VMCS);
    put32(VMXON_REGION, basic & 0x7fffffff);
    put32(VMCS, basic & 0x7fffffff);

    vmwrites = VMWRITES;
    write_controls(basic);
    write_host_state();
    write_guest_state();
    put32(vmwrites, 0xffffffff);

    return verdict(run_l1(), EXIT_REASON_VMCALL);
}

/* ---- the rest ---- */

static const struct kvm_cpuid_entry2 *leaf(uint32_t function)
{
    static const struct kvm_cpuid_entry2 none;

    for (uint32_t i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == function)
            return &cpuid->entries[i];
    return &none;
}

static int caps(void)
{
    printf("api_version=%ld\n", ASK(kvm, KVM_GET_API_VERSION, 0));
    printf("nested_state=%ld\n", ASK(kvm, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE));
    /* CPUID 1, ecx bit 5 [SDM 2, CPUID]; 8000_0001, ecx bit 2 [APM 3, E.4.2]. */
    printf("vmx=%u\n", leaf(1)->ecx >> 5 & 1);
    printf("svm=%u\n", leaf(0x80000001)->ecx >> 2 & 1);
    return DONE;
}

static int hold(unsigned seconds)
{
    open_vm();
    printf("holding pid %d\n", getpid());
    while (seconds)
        seconds = sleep(seconds);
    return DONE;
}

int main(int count, char **words)
{
    const char *what = count > 1 ? words[1] : "";

    /* Seen at once, also when the reader is a pipe. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(what, "caps") && count == 2) {
        open_kvm();
        return caps();
    }
    if (!strcmp(what, "hold") && count == 3) {
        open_kvm();
        return hold(strtoul(words[2], NULL, 10));
    }
    if ((!strcmp(what, "svm") || !strcmp(what, "vmx")) && count == 2) {
        open_kvm();
        open_vm();
        create_vcpu();
        return !strcmp(what, "svm") ? test_svm() : test_vmx();
    }
    fail("usage: kvmprobe caps | svm | vmx | hold SECONDS");
}
