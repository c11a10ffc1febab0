// Ring 0 of the canary: descriptor tables, the way into ring 3, and a handful of services. Every instruction here is slow on
// software KVM (about 0.6 us, where ring 3 runs at full speed) and every one is needed.
//
// At entry: rdi = bytes of memory, rsi = command line, rdx = TSC kHz. They pass through IRETQ to canary_main(); what a boot
// loader of another protocol has left in them, to another function.
#include "layout.h"
#include "services.h"

#ifndef CANARY_MAIN
#define CANARY_MAIN canary_main
#endif

#define LAPIC_EOI 0xfee000b0
#define LAPIC_SPURIOUS 0xfee000f0
#define LAPIC_LVT_TIMER 0xfee00320
#define LAPIC_TIMER_COUNT 0xfee00380
#define LAPIC_TIMER_DIVIDE 0xfee003e0
#define LAPIC_ENABLED 0x100
#define DIVIDE_BY_16 0x3

#define BOOT_TIMER 0xc0000000
#define BOOT_TIMER_VALUE 123
#define PORT_SERIAL 0x3f8
#define PORT_PVPANIC 0x505
#define PVPANIC_PANICKED 1

#define VECTOR_POWER_BUTTON 0x40
#define VECTOR_TIMER 0x41
#define VECTOR_GENERATION 0x42 /* goes on from a snapshot */
#define VECTOR_SPURIOUS 0x4f /* devices follow at 0x50 */
#define DEVICES 17

#define USER_DATA (0x28 | 3)
#define USER_CODE (0x30 | 3)
#define TASK 0x38

#define RFLAGS_INTERRUPTS_ON 0x202
#define UD2_LENGTH 2

  .code64
  .section .text.entry, "ax"
  .global _start
_start:
  lgdt gdt_pointer
  lidt idt_pointer
  mov $TASK, %ax
  ltr %ax
  mov $LAPIC_SPURIOUS, %eax
  movl $(LAPIC_ENABLED | VECTOR_SPURIOUS), (%rax)
  pushq $USER_DATA
  pushq $USER_STACK
  pushq $RFLAGS_INTERRUPTS_ON
  pushq $USER_CODE
  pushq $CANARY_MAIN
  iretq

// Services, reached by UD2 from ring 3: the one trap that is cheap and alike on hardware and software KVM (INT n raises an
// invalid-opcode fault on the latter anyway).
service:
  testb $3, 8(%rsp)
  jz unexpected_6
  jmp *service_table(, %rax, 8)

service_wait:
  cmpl $0, wake_reasons
  jne service_done
#ifdef CANARY_DEVICES
  cmpb $0, device_interrupted
  jne service_done
#endif
  sti
  hlt
service_done:
  addq $UD2_LENGTH, (%rsp)
  iretq

service_print:
  mov %rsi, %rcx
  mov %rdi, %rsi
  mov $PORT_SERIAL, %edx
  cld
  rep outsb
  jmp service_done

service_booted:
  mov $BOOT_TIMER, %eax
  movb $BOOT_TIMER_VALUE, (%rax)
  jmp service_done

service_arm_timer:
  mov $LAPIC_LVT_TIMER, %eax
  movl $VECTOR_TIMER, (%rax)
  mov $LAPIC_TIMER_DIVIDE, %eax
  movl $DIVIDE_BY_16, (%rax)
  mov $LAPIC_TIMER_COUNT, %eax
  movl %edi, (%rax)
  jmp service_done

service_out_byte:
  mov %edi, %edx
  mov %esi, %eax
  out %al, %dx
  jmp service_done

#ifdef CANARY_DEVICES
service_in_byte:
  mov %edi, %edx
  xor %eax, %eax
  in %dx, %al
  jmp service_done
#endif

service_triple_fault:
  lidt no_idt_pointer
  ud2

service_hang:
  cli
1:
  hlt
  jmp 1b

power_button:
  movb $1, power_button_pressed
  jmp end_of_interrupt
#ifdef CANARY_DEVICES
  // Which device it was is found in the rings: cheaper than a register on software KVM.
device:
  movb $1, device_interrupted
  jmp end_of_interrupt
#endif
generation:
  movb $1, generation_changed
  jmp end_of_interrupt
timer:
  movb $1, timer_fired
end_of_interrupt:
  push %rax
  mov $LAPIC_EOI, %eax
  movl $0, (%rax)
  pop %rax
spurious:
  iretq

// A fault that nobody expects: say which, then panic.
unexpected:
  pop %rax
  mov %eax, %ebx
  shr $4, %ebx
  and $15, %eax
  mov hex_digits(%rax), %al
  mov hex_digits(%rbx), %bl
  mov %al, fault_message_vector + 1
  mov %bl, fault_message_vector
  mov $fault_message, %esi
  mov $(fault_message_end - fault_message), %ecx
  mov $PORT_SERIAL, %edx
  cld
  rep outsb
  mov $PORT_PVPANIC, %edx
  mov $PVPANIC_PANICKED, %al
  out %al, %dx
  jmp service_hang

  .altmacro
  .macro unexpected_stub vector
unexpected_\vector:
  pushq $\vector
  jmp unexpected
  .endm
  .set vector, 0
  .rept 32
  unexpected_stub %vector
  .set vector, vector + 1
  .endr

hex_digits: .ascii "0123456789abcdef"
fault_message: .ascii "canary: unexpected fault 0x"
fault_message_vector: .ascii "??\n"
fault_message_end:

  .balign 16
service_table:
  .quad service_wait, service_print, service_booted, service_arm_timer, service_out_byte, service_triple_fault, service_hang
#ifdef CANARY_DEVICES
  .quad service_in_byte
  .global device_interrupted
device_interrupted: .byte 0
#endif

// Set by interrupts, cleared by ring 3; looked at together before sleeping.
  .global power_button_pressed
  .global timer_fired
  .global generation_changed
  .balign 4
wake_reasons:
power_button_pressed: .byte 0
timer_fired: .byte 0
generation_changed: .byte 0
  .byte 0

  .balign 16
task:
  .long 0
  .quad SUPERVISOR_STACK
  .fill 90, 1, 0
  .word 0x68  // I/O permission bitmap: beyond the limit, ring 3 has no ports

  .balign 16
gdt:
  .quad 0, 0
  .quad 0x00af9b000000ffff  // 0x10 supervisor code, as the boot loader's
  .quad 0x00cf93000000ffff  // 0x18 supervisor data
  .quad 0
  .quad 0x00cff3000000ffff  // 0x28 user data
  .quad 0x00affb000000ffff  // 0x30 user code
  // A 64-bit TSS descriptor at 0x100000 + offset; `task` lies in the first 64 KiB of the image.
  .word 0x67, task - _start
  .byte 0x10, 0x89, 0, 0
  .quad 0
gdt_end:

  .macro gate handler
  .word \handler - _start, SUPERVISOR_CODE
  .byte 0, 0x8e
  .word 0x10  // handlers lie in the 64 KiB from 0x100000 on
  .quad 0
  .endm
  .macro unexpected_gate vector
  gate unexpected_\vector
  .endm

  .balign 16
idt:
  .set vector, 0
  .rept 32
  .if vector == 6
  gate service
  .else
  unexpected_gate %vector
  .endif
  .set vector, vector + 1
  .endr
  .fill (VECTOR_POWER_BUTTON - 32) * 16, 1, 0
  gate power_button
  gate timer
  gate generation
  .fill (VECTOR_SPURIOUS - VECTOR_GENERATION - 1) * 16, 1, 0
  gate spurious
#ifdef CANARY_DEVICES
  .rept DEVICES
  gate device
  .endr
#endif
idt_end:

  .global gdt_pointer
gdt_pointer:
  .word gdt_end - gdt - 1
  .quad gdt
idt_pointer:
  .word idt_end - idt - 1
  .quad idt
no_idt_pointer:
  .word 0
  .quad 0

  .section .note.GNU-stack, "", @progbits
