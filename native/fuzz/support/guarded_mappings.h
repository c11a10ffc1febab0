#pragma once

#include <cstddef>

namespace volley::fuzz {

// Anonymous mappings of the code under test have a page behind and before them that may not be touched, and so may the
// bytes between their size and the end of their last page not be. Nothing outside of them may be given to madvise().

// Takes back whatever was mapped since the last call: objects that live as long as their process never do it.
void unmap_all();
// As unmap_all() would leave these alone from now on.
void keep_mappings();

}  // namespace volley::fuzz
