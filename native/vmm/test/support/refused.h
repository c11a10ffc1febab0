#pragma once

#include "base/status.h"
#include "support/check.h"

// A status that must be a failure whose sentence holds `part`.
#define CHECK_REFUSED(status, part)                   \
  do {                                                \
    const volley::Status refused_status = (status);   \
    CHECK(!refused_status.is_ok());                   \
    CHECK_CONTAINS(refused_status.message(), (part)); \
  } while (false)
