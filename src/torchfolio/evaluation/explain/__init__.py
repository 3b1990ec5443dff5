"""What an answer rests on: Grad-CAM, attention rollout, occlusion, and heat over pictures."""
