// What the assembler files share.
#pragma once

// Both stacks share one page that the boot loader's stack used.
#define SUPERVISOR_STACK 0x8ff0
#define USER_STACK 0x8c00

#define SUPERVISOR_CODE 0x10
