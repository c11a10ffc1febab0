#include "devices/msi_power_button.h"

#include "abi/volley_abi.h"

namespace volley {

int MsiPowerButton::press() { return vm_.signal_msi(0, VOLLEY_POWER_BUTTON_VECTOR); }

}  // namespace volley
