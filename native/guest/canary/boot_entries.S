// How the canary is entered where it is loaded as an ELF file, by whatever VMM: by PVH (32-bit protected mode, ebx = start
// information) or by the 64-bit Linux boot protocol (rsi = zero page). Both end in _start, with what the loader has left in
// rdi, on page tables of the canary's own: neither protocol gives any that ring 3 could use.
#include "layout.h"

#define NOTE_PHYS32_ENTRY 18

#define CR0_LONG_MODE 0x80050033 /* PG AM WP NE ET MP PE */
#define CR4_PHYSICAL_ADDRESS_EXTENSION 0x20
#define MSR_EFER 0xc0000080
#define EFER_LONG_MODE 0x100

#define USER_WRITABLE 0x07
#define USER_WRITABLE_LARGE 0x87
#define LARGE_PAGE 0x200000
#define DEVICE_GIB 0xc0000000

  .section .text.boot, "ax"
  .code32
pvh_entry:
  lgdt gdt_pointer
  mov $top_table, %eax
  mov %eax, %cr3
  mov $CR4_PHYSICAL_ADDRESS_EXTENSION, %eax
  mov %eax, %cr4
  mov $MSR_EFER, %ecx
  xor %edx, %edx
  mov $EFER_LONG_MODE, %eax
  wrmsr
  mov $CR0_LONG_MODE, %eax
  mov %eax, %cr0
  ljmp $SUPERVISOR_CODE, $long_mode

  .code64
long_mode:
  mov %ebx, %esi
  .global linux_entry
linux_entry:
  mov $top_table, %eax
  mov %rax, %cr3
  mov $SUPERVISOR_STACK, %esp
  mov %rsi, %rdi
  jmp _start

// In the file rather than made at the start: a loop of a thousand turns takes milliseconds in ring 0 of software KVM.
  .section .data.tables, "aw"
  .balign 4096
top_table:
  .quad pointer_table + USER_WRITABLE
  .fill 511, 8, 0
pointer_table:
  .quad memory_directory + USER_WRITABLE, 0, 0, device_directory + USER_WRITABLE
  .fill 508, 8, 0
  .macro directory first
  .set page, \first
  .rept 512
  .quad page + USER_WRITABLE_LARGE
  .set page, page + LARGE_PAGE
  .endr
  .endm
memory_directory:
  directory 0
device_directory:
  directory DEVICE_GIB

  .section .note.pvh, "a", @note
  .balign 4
  .long 4, 4, NOTE_PHYS32_ENTRY
  .asciz "Xen"
  .long pvh_entry

  .section .note.GNU-stack, "", @progbits
